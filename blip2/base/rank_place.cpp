#include "blip2/base/rank_place.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

constexpr long kDefaultPort = 29500;

// The names that a launcher gives to a process's numbers.
struct Launcher {
  const char *rank, *size, *local_rank;
};
constexpr Launcher kLaunchers[] = {
    {"RANK", "WORLD_SIZE", "LOCAL_RANK"},
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"},
    // srun's own: in a batch script without srun only SLURM_NTASKS is there.
    {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"},
};

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  if (!value || !*value) return std::nullopt;
  return value;
}

long number(const char* name, const std::string& text, long least, long most) {
  long value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && stop == end && value >= least && value <= most) return value;
  throw Error(fmt::format("expected a number of {} to {}, got \"{}\"", least, most, text),
              std::string("environment variable ") + name);
}

std::string required(const char* name) {
  if (auto value = variable(name)) return *value;
  throw Error("not set, though there are several processes",
              std::string("environment variable ") + name,
              "torchrun --no-python sets it; with other launchers set MASTER_ADDR and MASTER_PORT");
}

// A process that wrongly takes itself for the only one would compute everything that others compute
// too.
void require_both(const char* rank, const char* size) {
  if (variable(rank).has_value() == variable(size).has_value()) return;
  const bool with_rank = variable(rank).has_value();
  throw Error(fmt::format("not set, though {} is", with_rank ? rank : size),
              std::string("environment variable ") + (with_rank ? size : rank),
              "torchrun --no-python sets both; unset both for a process alone");
}

std::string meeting_address(bool slurm) {
  if (slurm && !variable("MASTER_ADDR")) return first_host(required("SLURM_STEP_NODELIST"));
  return required("MASTER_ADDR");
}

}  // namespace

std::string first_host(const std::string& nodes) {
  const auto comma = nodes.find(','), bracket = nodes.find('[');
  if (bracket == std::string::npos || comma < bracket) return nodes.substr(0, comma);
  const auto end = nodes.find_first_of(",-]", bracket);
  return nodes.substr(0, bracket) + nodes.substr(bracket + 1, end - bracket - 1);
}

RankPlace rank_from_environment() {
  constexpr long most = 1 << 20;
  require_both("RANK", "WORLD_SIZE");
  for (const Launcher& launcher : kLaunchers) {
    const auto rank = variable(launcher.rank), size = variable(launcher.size);
    if (!rank || !size) continue;
    RankPlace place;
    place.size = static_cast<int>(number(launcher.size, *size, 1, most));
    place.rank = static_cast<int>(number(launcher.rank, *rank, 0, place.size - 1));
    if (const auto local = variable(launcher.local_rank)) {
      place.local_rank = static_cast<int>(number(launcher.local_rank, *local, 0, most));
    }
    place.slurm = std::strcmp(launcher.rank, "SLURM_PROCID") == 0;
    return place;
  }
  return {};
}

RankPlace rank_place_from_environment() {
  RankPlace place = rank_from_environment();
  if (place.alone()) return place;
  place.address = meeting_address(place.slurm);
  const bool any_port = place.slurm && !variable("MASTER_PORT");
  place.port = static_cast<std::uint16_t>(
      any_port ? kDefaultPort : number("MASTER_PORT", required("MASTER_PORT"), 1, 65535));
  place.launcher_meets = variable("TORCHELASTIC_USE_AGENT_STORE") == "True";
  if (const auto attempt = variable("TORCHELASTIC_RESTART_COUNT")) {
    place.attempt = static_cast<int>(number("TORCHELASTIC_RESTART_COUNT", *attempt, 0, 1 << 20));
  }
  return place;
}

}  // namespace blip2

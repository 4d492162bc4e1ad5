#include "apps/blip2/torch_program.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

#include "blip2/base/log.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

constexpr int kFailed = 1;
constexpr char kName[] = "blip2-torch";
constexpr char kSpinCount[] = "3000";  // bench/busy.py measures what it costs

void say_how_to_wait() {
  const bool said = std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY");
  if (!said) setenv("GOMP_SPINCOUNT", kSpinCount, 0);
}

}  // namespace

int become_torch_program(char** arguments) {
  std::error_code error;
  const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  if (error) {
    log_line("blip2: /proc/self/exe: cannot find this program's folder: " + error.message());
    return kFailed;
  }
  say_how_to_wait();
  const std::array<fs::path, 2> places{folder / kName,
                                       (folder / BLIP2_TO_LIBEXEC / kName).lexically_normal()};
  for (const fs::path& place : places) {
    execv(place.c_str(), arguments);
    if (errno == ENOENT) continue;
    log_line("blip2: " + place.string() + ": cannot be started: " + std::strerror(errno));
    return kFailed;
  }
  log_line("blip2: expected the program with LibTorch at " + places[0].string() + " or " +
           places[1].string() + ", found it at neither; build or install both");
  return kFailed;
}

}  // namespace blip2

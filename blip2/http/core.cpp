#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <random>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/http/connection_internal.h"
#include "blip2/http/core_internal.h"
#include "blip2/http/tls_internal.h"

namespace blip2 {
namespace {

// Files that stay for everything else when connections take all that they may.
constexpr std::size_t kOtherFiles = 256;
// Connections over the limit that are still told so; more are closed without a word.
constexpr std::size_t kPoliteRefusals = 128;

// Raises the process's limit on open files to so many, as far as the system allows; the limit then.
std::size_t allow_files(std::size_t wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return wanted;
  rlimit raised = limit;
  raised.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
  return setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

ConnectionLimits allow_connections(std::size_t wanted) {
  const std::size_t files = allow_files(wanted + kPoliteRefusals + kOtherFiles);
  const std::size_t open = files - std::min(kOtherFiles, files / 2);
  const std::size_t polite = std::min(kPoliteRefusals, open / 4);
  return {std::clamp<std::size_t>(open - polite, 1, wanted), open};
}

HttpOptions checked(HttpOptions options) {
  const HttpLimits& limits = options.limits;
  need(!options.hosts.empty(), "no address to listen at", "HTTP server");
  need(options.threads >= 1 && options.threads <= 256, "expected 1 to 256 threads", "HTTP server");
  need(limits.connections >= 1, "expected at least one connection", "HTTP server");
  need(limits.header_bytes >= 256 && limits.header_bytes <= 65000,
       "expected 256 to 65,000 bytes of header", "HTTP server");
  for (const double seconds :
       {limits.header_seconds, limits.body_seconds, limits.idle_seconds, limits.write_seconds}) {
    need(seconds > 0 && seconds <= 1e6,
         "a time limit must be above 0 and at most 1,000,000 seconds", "HTTP server");
  }
  return options;
}

std::uint64_t random_seed() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) | device();
}

}  // namespace

std::size_t OpenConnections::add(const std::shared_ptr<Connection>& connection) {
  const std::lock_guard lock(mutex_);
  open_.emplace(connection.get(), connection);
  return open_.size();
}

void OpenConnections::remove(const Connection* connection) {
  const std::lock_guard lock(mutex_);
  open_.erase(connection);
}

std::vector<std::shared_ptr<Connection>> OpenConnections::all() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Connection>> result;
  for (const auto& [key, connection] : open_) {
    if (auto alive = connection.lock()) result.push_back(std::move(alive));
  }
  return result;
}

ServerCore::ServerCore(HttpOptions given, HttpHandler answer)
    : options(checked(std::move(given))),
      handler(std::move(answer)),
      keys(options.api_keys),
      cors(options.cors_origins),
      tls(make_tls(options.tls_cert, options.tls_key)),
      connection_limits(allow_connections(options.limits.connections)),
      log(options.log),
      io(options.threads),
      id_seed_(random_seed()) {}

std::string ServerCore::new_request_id() {
  const std::uint64_t number = ids_++;
  return fmt::format("{:016x}{:016x}", scatter(id_seed_ ^ number), scatter(~id_seed_ + number));
}

}  // namespace blip2

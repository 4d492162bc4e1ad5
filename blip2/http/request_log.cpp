#include "blip2/http/request_log_internal.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <exception>
#include <nlohmann/json.hpp>
#include <utility>

#include "blip2/base/log.h"

namespace blip2 {
namespace {

constexpr std::size_t kLongestPath = 256, kLongestMethod = 32;

std::string utc_time(std::chrono::system_clock::time_point time) {
  using std::chrono::milliseconds;
  const auto since = std::chrono::duration_cast<milliseconds>(time.time_since_epoch()).count();
  const std::time_t seconds = since / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", parts, since % 1000);
}

}  // namespace

std::string log_text(const LoggedRequest& request, std::chrono::system_clock::time_point time) {
  const nlohmann::ordered_json line = {{"time", utc_time(time)},
                                       {"id", request.id},
                                       {"remote", request.remote},
                                       {"method", request.method.substr(0, kLongestMethod)},
                                       {"path", request.path.substr(0, kLongestPath)},
                                       {"status", request.status},
                                       {"bytes", request.bytes},
                                       {"milliseconds", request.milliseconds}};
  return line.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

RequestLog::RequestLog(Taker taker) : taker_(std::move(taker)) {}

void RequestLog::add(const LoggedRequest& request) {
  if (!taker_) return;
  const std::string line = log_text(request, std::chrono::system_clock::now());
  const std::lock_guard lock(mutex_);
  try {
    taker_(line);
  } catch (const std::exception& error) {
    log_warning("the request log failed: {}", error.what());
  }
}

}  // namespace blip2

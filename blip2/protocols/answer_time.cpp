#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "blip2/protocols/answer_time_internal.h"

namespace blip2 {

std::string rfc3339(std::int64_t seconds, std::int64_t nanoseconds) {
  constexpr std::int64_t kLast = 253'402'300'799;  // of the year 9999
  const std::chrono::sys_seconds time{
      std::chrono::seconds(std::clamp<std::int64_t>(seconds, 0, kLast))};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count(),
                     nanoseconds);
}

}  // namespace blip2

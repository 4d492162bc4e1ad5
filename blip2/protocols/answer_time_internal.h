#pragma once

#include <cstdint>
#include <string>

namespace blip2 {

// RFC 3339 in UTC: "2026-11-30T16:20:53.000000001Z"; `seconds` since 1970, 0 to the year 9999.
std::string rfc3339(std::int64_t seconds, std::int64_t nanoseconds = 0);

}  // namespace blip2

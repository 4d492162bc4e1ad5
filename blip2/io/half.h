#pragma once

#include <cstdint>

namespace blip2 {

// Binary32 to binary16, to nearest even; what is too large becomes infinity.
std::uint16_t to_half(float value);
float from_half(std::uint16_t half);

}  // namespace blip2

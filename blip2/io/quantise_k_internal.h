#pragma once

#include <cstddef>
#include <cstdint>

namespace blip2 {

// Blocks of 256 numbers x in Q4_K, Q5_K and Q6_K into `out`, which is zero.
void quantise_q4_k(const float* x, std::byte* out);
void quantise_q5_k(const float* x, std::byte* out);
void quantise_q6_k(const float* x, std::byte* out);

// Binary32 to binary16, to nearest even; what is too large becomes infinity.
std::uint16_t to_half(float value);
float from_half(std::uint16_t half);
// Error if it is too large for binary16.
void put_half(std::byte* out, float value);

}  // namespace blip2

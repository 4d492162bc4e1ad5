#pragma once

#include <cstddef>

namespace blip2 {

// Blocks of 256 numbers x in Q4_K, Q5_K and Q6_K into `out`, which is zero.
void quantise_q4_k(const float* x, std::byte* out);
void quantise_q5_k(const float* x, std::byte* out);
void quantise_q6_k(const float* x, std::byte* out);

// A number as binary16. Error if it is too large.
void put_half(std::byte* out, float value);

}  // namespace blip2

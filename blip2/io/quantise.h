#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "blip2/io/tensor_view.h"

namespace blip2 {

// Whether quantise knows the type: Q8_0, Q4_0 and Q4_K.
bool can_quantise(DType type);

// Numbers in GGUF's blocks, as ggml's reference quantiser gives them. Q8_0: the largest magnitude
// is 127; Q4_0: the number of the largest magnitude is code 0; Q4_K: of 21 scales of each 32 the
// one with the least squared error, weighed by magnitude, is taken. The count is a multiple of the
// type's block; all numbers are finite.
std::vector<std::byte> quantise(DType type, std::span<const float> values);

}  // namespace blip2

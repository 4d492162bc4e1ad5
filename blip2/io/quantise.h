#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "blip2/io/tensor_view.h"

namespace blip2 {

// Whether quantise knows the type: Q4_0, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K.
bool can_quantise(DType type);

// How the scales of a type are found, in words for those who read the file.
std::string_view scale_search(DType type);

// Numbers in GGUF's blocks, bit for bit those of ggml's reference quantiser without an importance
// matrix. Q8_0: the largest magnitude is 127. Q4_0 and Q5_0: the number of the largest magnitude is
// code 0. Q5_1: the range in 31 steps. Q4_K, Q5_K, Q6_K: of 22, 17 and 19 scales of each 32 (Q6_K:
// 16) numbers the one with the least squared error, weighed by magnitude (Q6_K: by its square). The
// count is a multiple of the type's block; all numbers are finite. Error for another type or count,
// and for numbers whose scale is too large for binary16.
std::vector<std::byte> quantise(DType type, std::span<const float> values);

}  // namespace blip2

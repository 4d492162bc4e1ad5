#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace blip2 {

// How many rows a half-precision product of `rows` rows is computed with. oneDNN compiles a kernel
// for every shape that it meets, which takes longer than a small product does: batches of packed
// text would bring new shapes at every step.
inline std::int64_t padded_rows(std::int64_t rows) {
  return (rows + 63) / 64 * 64;
}

// A matrix [M, K] with zeros below, [padded_rows(M), K]; f32 as it is (its products need no
// compiling).
inline at::Tensor pad_rows(const at::Tensor& matrix) {
  const std::int64_t missing = padded_rows(matrix.size(0)) - matrix.size(0);
  if (missing == 0 || matrix.scalar_type() == at::kFloat) return matrix;
  return at::constant_pad_nd(matrix, {0, 0, 0, missing});
}

}  // namespace blip2

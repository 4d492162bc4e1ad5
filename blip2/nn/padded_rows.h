#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace blip2 {

// The number of rows with which a half-precision product of `rows` rows is computed. oneDNN
// compiles a kernel for every new shape, which takes longer than a small product, and batches of
// packed rows would bring new shapes at every step.
inline std::int64_t padded_rows(std::int64_t rows) {
  return (rows + 63) / 64 * 64;
}

// A matrix [M, K] with zero rows below: [padded_rows(M), K]. An f32 matrix is returned as it is, as
// its products need no compiling.
inline at::Tensor pad_rows(const at::Tensor& matrix) {
  const std::int64_t missing = padded_rows(matrix.size(0)) - matrix.size(0);
  if (missing == 0 || matrix.scalar_type() == at::kFloat) return matrix;
  return at::constant_pad_nd(matrix, {0, 0, 0, missing});
}

}  // namespace blip2

#pragma once

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>

#include <cstdint>

namespace blip2 {

// The number of rows with which a half-precision product of `rows` rows is computed. oneDNN
// compiles a kernel for every new shape, which takes as long as a small product, and batches of
// packed rows would bring new shapes at every step.
inline std::int64_t padded_rows(std::int64_t rows) {
  return (rows + 31) / 32 * 32;
}

// A matrix [rows, width] for a result that pad_rows() need not copy: in half precision its memory
// goes on with the zero rows. The numbers are arbitrary. It is no view for autograd.
inline at::Tensor padded_empty(std::int64_t rows, std::int64_t width,
                               const at::TensorOptions& options) {
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  const auto all_rows = options.dtype() == at::kFloat ? rows : padded_rows(rows);
  const at::Tensor all = at::empty({all_rows, width}, options);
  if (all_rows > rows) all.narrow(0, rows, all_rows - rows).zero_();
  return all.narrow(0, 0, rows);
}

// Whether the memory of [M, K] is that of [padded, K] and goes on with zeros.
inline bool has_zero_rows(const at::Tensor& matrix, std::int64_t padded) {
  const auto bytes = static_cast<std::size_t>(padded * matrix.size(1)) * matrix.itemsize();
  if (!matrix.is_contiguous() || matrix.storage_offset() != 0 ||
      matrix.storage().nbytes() != bytes) {
    return false;
  }
  const auto* element = static_cast<const std::uint16_t*>(matrix.const_data_ptr());
  std::uint32_t any = 0;
  for (std::int64_t i = matrix.numel(); i < padded * matrix.size(1); ++i) any |= element[i];
  return any == 0;
}

// A matrix [M, K] with zero rows below: [padded_rows(M), K], the same memory if the rows are there.
// An f32 matrix is returned as it is, as its products need no compiling. Without autograd.
inline at::Tensor pad_rows(const at::Tensor& matrix) {
  const std::int64_t rows = matrix.size(0), width = matrix.size(1), padded = padded_rows(rows);
  if (padded == rows || matrix.scalar_type() == at::kFloat) return matrix;
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  if (has_zero_rows(matrix, padded)) return matrix.as_strided({padded, width}, {width, 1});
  const at::Tensor copy = padded_empty(rows, width, matrix.options());
  copy.copy_(matrix);
  return copy.as_strided({padded, width}, {width, 1});
}

}  // namespace blip2

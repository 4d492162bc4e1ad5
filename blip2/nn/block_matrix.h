#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blip2/io/tensor_view.h"
#include "blip2/nn/kernels/block_layout.h"

namespace blip2 {

// Whether matrices of this type can be multiplied with as they are: GGUF's Q4_0, Q4_1, Q5_0, Q5_1,
// Q8_0, Q4_K, Q5_K, Q6_K, IQ4_NL and MXFP4.
bool is_block_type(DType type);

// A frozen matrix [outs, width] in GGUF's blocks, laid together for nn/kernels in memory of its
// own: the file's numbers bit for bit, and its size but for Q4_K and Q5_K, which take 3 % more.
// Copies share the memory. Const functions may run on several threads at once.
class BlockMatrix {
 public:
  BlockMatrix() = default;
  // Out i is the file's row rows[i], or row i if `rows` is empty. Error, naming `file` and the
  // tensor, if a scale is not finite.
  explicit BlockMatrix(const TensorView& tensor, std::span<const std::int32_t> rows = {},
                       const std::string& file = {});

  bool defined() const { return packed_.defined(); }
  DType type() const { return type_; }
  std::int64_t outs() const { return outs_; }
  std::int64_t width() const { return width_; }
  std::int64_t bytes() const { return static_cast<std::int64_t>(packed_.nbytes()); }
  // What nn/kernels read; it lives as long as the matrix.
  BlockMatrixView view() const;

  // The numbers as f32, bf16 or f16 into `to` [outs, width], which is contiguous.
  void widen_into(at::Tensor& to) const;

 private:
  DType type_ = DType::q4_0;
  std::int64_t outs_ = 0, width_ = 0;
  at::Tensor packed_;
};

// Error that a tensor of `file` has a scale that is not finite.
[[noreturn]] void refuse_scales(const TensorView& tensor, const std::string& file);

// Rows [outs, width] f32 as a file's blocks of a type that quantise() (io/quantise.h) knows. Its
// Errors.
std::vector<std::byte> quantise_matrix(const at::Tensor& rows, DType type);

// Rows of activations in eight bits, for products with matrices in blocks.
using ActivationRows = std::unique_ptr<ActivationBlock[]>;
// x [rows, width], of T: float, Bf16 or F16. The width is a multiple of 32.
template <typename T>
ActivationRows quantise_rows(const T* x, std::int64_t rows, std::int64_t width);

}  // namespace blip2

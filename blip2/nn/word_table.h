#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>

#include "blip2/io/tensor_file.h"

namespace blip2 {

// A frozen table [rows, width] that is read a row at a time, as a file has it: of f32, bf16, f16,
// or in GGUF's blocks, which are widened as they are read. Copies share the memory. Const functions
// may run on several threads at once.
class WordTable {
 public:
  // For loading and saving; undefined if the table is in blocks.
  at::Tensor values;
  // What numbers are multiplied by as they are read; products are rounded to the table's type,
  // those of a table in blocks to f32.
  float scale = 1.0f;

  WordTable() = default;
  // A table in blocks over the bytes of `file`, which lives as long as the table. Error, naming
  // file and tensor, if a scale is not finite.
  WordTable(const TensorView& tensor, std::shared_ptr<const TensorFile> file);

  std::int64_t rows() const { return blocks_.defined() ? blocks_.size(0) : values.size(0); }
  // Row i as f32 into `to` [width].
  void read(std::int64_t i, float* to) const;
  // The rows of ids [N] (int64), which are in range, as f32: [N, width].
  at::Tensor select(const at::Tensor& ids) const;

 private:
  template <typename T>
  void multiply(float* row, std::int64_t width) const;

  at::Tensor blocks_;  // [rows, bytes of a row]
  DType type_ = DType::f32;
  std::int64_t width_ = 0;
};

}  // namespace blip2

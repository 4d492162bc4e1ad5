#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "blip2/io/tensor_file.h"

namespace blip2 {

// A tensor to be written: a tensor of another file with its new name, type and shape.
struct WrittenTensor {
  std::string name;
  const TensorView* source;
  DType dtype;
  std::vector<std::int64_t> shape;
  // Changes the values, which it gets in the source's type and may return in another; may be empty.
  std::function<at::Tensor(const at::Tensor&)> change;
};

// The file type of a tensor type (kFloat, kBFloat16, kHalf).
DType dtype_of(at::ScalarType type);
// Whether the type holds numbers that may become those of another such type.
bool is_floating(DType dtype);

// Writes a safetensors file one tensor at a time: only one converted tensor is in memory, and pages
// of `file` are released once they have been read. Tensors that do not change are copied bit for
// bit. Error naming the tensor if one cannot be quantised.
void write_weight_file(const TensorFile& file, const std::vector<WrittenTensor>& tensors,
                       const std::filesystem::path& path);

// Writes tensors as the weights of a model directory: model.safetensors, or shards of at most 5 GB
// with their index, as transformers writes them.
void write_weights(const TensorFile& file, const std::vector<WrittenTensor>& tensors,
                   const std::filesystem::path& folder);

}  // namespace blip2

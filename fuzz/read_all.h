#pragma once

#include <vector>

#include "blip2/base/error.h"
#include "blip2/io/tensor_file.h"
#include "fuzz/memory_file.h"

namespace blip2 {

// Opens the bytes as a File and converts every tensor to f32. Only Error may come out of opening.
template <typename File>
int read_all(const std::uint8_t* data, std::size_t size) {
  const MemoryFile memory(data, size);
  try {
    const File file(memory.path());
    std::vector<float> values;
    for (const TensorView& tensor : file.tensors()) {
      values.resize(static_cast<std::size_t>(tensor.numel()));
      to_float32(tensor, values);
    }
  } catch (const Error&) {
  }
  return 0;
}

}  // namespace blip2

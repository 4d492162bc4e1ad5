#pragma once

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <cstdint>
#include <optional>

#include "blip2/nn/kernels/kernels.h"

namespace blip2 {

// Calls f<T>() with the kernels' type for a compute type, f32 or bf16.
template <typename F>
auto with_kernel_type(at::ScalarType type, F&& f) {
  if (type == at::kBFloat16) return f.template operator()<Bf16>();
  TORCH_CHECK(type == at::kFloat, "compute type must be f32 or bf16, got ", type);
  return f.template operator()<float>();
}

// Autograd functions take tensors that may be undefined as optionals.
inline std::optional<at::Tensor> maybe(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}
using MaybeTensor = std::optional<at::Tensor>;

template <typename T>
T* data_of(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}

// Rows are cut into this many chunks, whatever the number of threads, so that sums over rows are
// always added in the same order.
inline constexpr std::int64_t kChunks = 16;

// Calls f(chunk, begin, end) for the chunks of [0, rows), on all threads.
template <typename F>
void for_chunks(std::int64_t rows, const F& f) {
  at::parallel_for(0, kChunks, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t chunk = first; chunk < last; ++chunk) {
      f(chunk, rows * chunk / kChunks, rows * (chunk + 1) / kChunks);
    }
  });
}

}  // namespace blip2

#pragma once

#include <torch/torch.h>

#include <utility>

#include "blip2/nn/kernels/kernels.h"

namespace blip2 {

// Calls f.operator()<T>() with the kernels' type T for a tensor's type: float, Bf16 or F16.
template <typename F>
decltype(auto) with_element(at::ScalarType type, F&& f) {
  if (type == at::kBFloat16) return std::forward<F>(f).template operator()<Bf16>();
  if (type == at::kHalf) return std::forward<F>(f).template operator()<F16>();
  TORCH_CHECK(type == at::kFloat, "expected f32, bf16 or f16, got ", type);
  return std::forward<F>(f).template operator()<float>();
}

// The type of a tensor whose elements are T.
template <typename T>
constexpr at::ScalarType kScalarType = at::kFloat;
template <>
inline constexpr at::ScalarType kScalarType<Bf16> = at::kBFloat16;
template <>
inline constexpr at::ScalarType kScalarType<F16> = at::kHalf;

}  // namespace blip2

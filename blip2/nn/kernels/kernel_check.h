#pragma once
// What the tests of the kernels share: rows of random numbers as tensors of a kernel's type, and
// the comparison with LibTorch's results in f64. Included by the *_test.cpp only.
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <type_traits>

#include "blip2/nn/kernels/tables_internal.h"

namespace blip2::kernel_check {

using at::Tensor;
using Int = std::int64_t;

// Calls check(table) for every table that this machine can run: each instruction set in f32, bf16
// and f16.
template <typename Check>
void on_every_table(const Check& check) {
  for (const KernelSet& set : runnable_kernels()) {
    SCOPED_TRACE(set.name);
    {
      SCOPED_TRACE("f32");
      check(*set.f32);
    }
    {
      SCOPED_TRACE("bf16");
      check(*set.bf16);
    }
    SCOPED_TRACE("f16");
    check(*set.f16);
  }
}

template <typename T>
constexpr at::ScalarType type_of() {
  if (std::is_same_v<T, Bf16>) return at::kBFloat16;
  return std::is_same_v<T, F16> ? at::kHalf : at::kFloat;
}

// The spacing of numbers of the type just above 1; results are rounded to half of it.
template <typename T>
constexpr double spacing_of() {
  if (std::is_same_v<T, Bf16>) return 0x1p-7;
  return std::is_same_v<T, F16> ? 0x1p-10 : 0x1p-19;  // f32: sums and exponentials are less exact
}

// Normal random numbers that T holds exactly. Every call with the same arguments gives the same.
template <typename T>
Tensor random(at::IntArrayRef shape, std::uint64_t seed, double scale = 1) {
  auto generator = at::detail::createCPUGenerator(seed);
  return (at::randn(shape, generator, at::kDouble) * scale).to(type_of<T>());
}

template <typename T>
T* data(const Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}

inline Tensor exact(const Tensor& tensor) {
  return tensor.to(at::kDouble);
}

// Within `units` roundings of T of the expected, relative to the larger of 1 and the expected.
template <typename T>
void expect_close(const Tensor& got, const Tensor& expected, const char* what, double units = 1) {
  ASSERT_EQ(got.sizes(), expected.sizes()) << what;
  const Tensor allowed = expected.detach().abs().clamp_min(1) * (units * spacing_of<T>());
  const Tensor off = (exact(got) - expected.detach()).abs() / allowed;
  EXPECT_LE(off.max().item<double>(), 1.0) << what;  // a NaN fails too
}

}  // namespace blip2::kernel_check

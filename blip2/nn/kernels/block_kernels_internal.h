#pragma once

#include "blip2/nn/kernels/arguments.h"
#include "blip2/nn/kernels/block_layout.h"

namespace blip2 {

// Products of activations in eight bits with matrices in GGUF's blocks (block_layout.h), for
// activations and results of type T. As the other kernels (kernels.h) these start no threads, and a
// row's result depends on that row alone. Whole numbers are multiplied and added exactly; a block's
// sum is scaled in f32, and blocks are added in ascending order.
template <typename T>
struct BlockKernels {
  using Int = std::int64_t;

  // x [rows, width] in eight bits: its blocks [begin, end), row after row.
  void (*quantise)(const T* x, Int rows, Int width, Int begin, Int end, ActivationBlock* y);
  // y[rows, outs] = x[rows, width] weight[outs, width]^T for the groups [begin, end). y is indexed
  // by out and has `stride` elements a row, which are T or f32 as `store` says.
  void (*multiply)(const BlockMatrixView& weight, const ActivationBlock* x, Int rows, Int begin,
                   Int end, Store store, void* y, Int stride);
  // The outs [begin, end) as T: y [end - begin, width].
  void (*widen)(const BlockMatrixView& weight, Int begin, Int end, T* y);
};

// Of the same instructions as kernels<T>(), with VNNI and tiles of bytes where they are there.
template <typename T>
const BlockKernels<T>& block_kernels();
template <>
const BlockKernels<float>& block_kernels<float>();
template <>
const BlockKernels<Bf16>& block_kernels<Bf16>();
template <>
const BlockKernels<F16>& block_kernels<F16>();

}  // namespace blip2

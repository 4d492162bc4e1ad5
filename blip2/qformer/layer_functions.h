#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "blip2/nn/norm.h"
#include "blip2/qformer/packed_rows.h"

namespace blip2 {

// Differentiable pieces of a layer. Matrices [rows, columns] contiguous of one compute type T (f32
// or bf16); parameters f32, whose gradients are summed in f32. Results do not depend on the number
// of threads.

struct Dropout {
  double probability = 0;
  std::uint64_t seed = 0;
};

// gelu(u + bias).
at::Tensor gelu_of(const at::Tensor& u, const at::Tensor& bias);

// norm(dropout(a + bias) + x[rows.source]); `a` must not be used afterwards.
at::Tensor add_norm(const at::Tensor& a, const at::Tensor& bias, const at::Tensor& x,
                    const Continuation& rows, const Norm& norm, const Dropout& dropout);

// Attention of each segment. `x` [M, >= 3D] holds queries, keys and values side by side; external
// keys likewise or undefined.
at::Tensor self_attention(const at::Tensor& qkv, const at::Tensor& external,
                          const std::vector<AttentionSegment>& segments, std::int64_t out_rows,
                          std::int64_t heads, const Dropout& dropout);
// Queries [M,D] against keys and values side by side [K,2D].
at::Tensor cross_attention(const at::Tensor& queries, const at::Tensor& keys_values,
                           const std::vector<AttentionSegment>& segments, std::int64_t out_rows,
                           std::int64_t heads, const Dropout& dropout);

// Rows of a f32 table [V,D]; the gradient is summed in the order of `ids`.
at::Tensor gather_rows(const at::Tensor& table, const at::Tensor& ids);

}  // namespace blip2

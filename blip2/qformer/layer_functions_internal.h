#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "blip2/nn/norm.h"
#include "blip2/qformer/packed_rows.h"

namespace blip2 {

// Differentiable parts of a layer. Matrices [rows, columns] are contiguous and of one compute type
// T (f32 or bf16); parameters are f32, and their gradients are summed in f32. Results do not depend
// on the number of threads.

struct Dropout {
  double probability = 0;
  std::uint64_t seed = 0;
};

// gelu(u + bias).
at::Tensor gelu_of(const at::Tensor& u, const at::Tensor& bias);

// norm(dropout(a + bias) + x[rows.source]); `a` must not be used afterwards.
at::Tensor add_norm(const at::Tensor& a, const at::Tensor& bias, const at::Tensor& x,
                    const Continuation& rows, const Norm& norm, const Dropout& dropout);

// Self-attention in each segment. `qkv` [M, >= 3D] holds queries, keys and values side by side;
// `external` holds further keys likewise, or is undefined.
at::Tensor self_attention(const at::Tensor& qkv, const at::Tensor& external,
                          const std::vector<AttentionSegment>& segments, std::int64_t out_rows,
                          std::int64_t heads, const Dropout& dropout);
// Cross-attention of queries [M,D] to keys and values side by side [K,2D]; `external` holds further
// ones likewise, or is undefined.
at::Tensor cross_attention(const at::Tensor& queries, const at::Tensor& keys_values,
                           const at::Tensor& external,
                           const std::vector<AttentionSegment>& segments, std::int64_t out_rows,
                           std::int64_t heads, const Dropout& dropout);

// The rows of `above`, then those of `below`, whose products need no copy (nn/padded_rows.h).
at::Tensor join_rows(const at::Tensor& above, const at::Tensor& below);

// The rows `ids` of an f32 table [V,D]; the gradient is summed in the order of `ids`.
at::Tensor gather_rows(const at::Tensor& table, const at::Tensor& ids);

}  // namespace blip2

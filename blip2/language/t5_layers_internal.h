#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "blip2/language/t5_weights.h"

namespace blip2 {

// The steps of a T5 layer. They call ATen operations if a gradient is needed, otherwise nn/kernels,
// in which a row's result does not depend on the rows beside it.

// x [N, in] -> [N, out] of x's type. A matrix that is not int8 must have the same type.
at::Tensor t5_linear(const at::Tensor& x, const Linear& linear);

// [N, D] f32 -> [N, D] of `type`.
at::Tensor t5_norm(const at::Tensor& x, const Norm& norm, at::ScalarType type);

// The feed-forward layer with its norm and its residual: [N, D] f32 -> [N, D] f32, with products of
// `type`.
at::Tensor t5_feed_forward(const at::Tensor& x, const T5FeedForward& weights, at::ScalarType type);

// The relative-position bucket of each distance from a query to a key: [...] int64 -> [...] int64.
// both_ways: keys behind the query have other buckets than keys before it (the encoder).
at::Tensor t5_buckets(const at::Tensor& distance, bool both_ways, const T5Config& config);

// The bias that is added to the attention scores of a sequence of `length` tokens: [H, T, T] f32.
// The decoder's bias hides later keys.
at::Tensor t5_position_bias(const T5Stack& stack, bool decoder, std::int64_t length,
                            const T5Config& config);

// softmax(q k^T + bias) v of one sequence, unscaled: q [Tq, H K], k and v [Tk, H K]; bias
// [H, Tq, Tk] f32 or undefined. Computed in f32; -> [Tq, H K] of q's type.
at::Tensor t5_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        std::int64_t heads, const at::Tensor& bias);

}  // namespace blip2

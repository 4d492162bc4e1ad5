#pragma once

#include <torch/torch.h>

#include <memory>
#include <optional>
#include <vector>

#include "blip2/language/decoder_weights.h"
#include "blip2/language/rope_table_internal.h"
#include "blip2/nn/low_rank.h"

namespace blip2 {

// The activations that one forward pass keeps for its backward pass, and its working memory. The
// memory is used again once the pass is over: fresh memory would cost as much time as the norms and
// activations do.
struct DecoderActivations {
  std::int64_t rows = 0, layers = 0;  // for which there is memory; one layer if nothing is kept
  at::Tensor inputs;                  // [L + 1, N, D] f32: each layer's input, then the last output
  at::Tensor middles;                 // [L, N, D] f32: after attention
  at::Tensor qkv;                     // [L, N, Q + 2 K]: rotated
  at::Tensor plain;                   // [L, N, Q + K]: before the heads' norms; [L, N, 0] without
  at::Tensor products;                // [L, 2, N, D]: before the norms behind; [L, 2, N, 0] without
  at::Tensor gate_up;                 // [L, N, 2 F], [L, N, F] without a gate
  at::Tensor narrow, wide, delta;     // [N, max(D, Q)], [N, F], [N, max(D, Q)]: working memory
  at::Tensor dqkv, dgate_up;          // working memory of the backward pass
  LowRankTape low_rank;               // of the adapters' passes
};

// Packed sequences: the first row of each, then the end of all; and the rows whose results are
// wanted, in ascending order, or none for all.
struct PackedRange {
  std::vector<std::int64_t> offsets, wanted;
};

// The layers of a decoder over packed sequences, forward and backward, with the weights frozen but
// for adapters beside them: one node of the autograd graph for the whole stack. Products go through
// ATen, everything else through nn/kernels. For one thread at a time.
class DecoderStack {
 public:
  explicit DecoderStack(std::shared_ptr<const DecoderWeights> weights);

  // embeds [N, D] f32 -> [wanted, D] f32. With `keep`, the activations are kept for one backward
  // pass.
  at::Tensor forward(const at::Tensor& embeds, const PackedRange& range, DecoderActivations& memory,
                     bool keep);
  // Turns the gradient of forward's result into the gradient of embeds; the adapters' gradients are
  // in memory.low_rank then.
  at::Tensor backward(const at::Tensor& gradient, const PackedRange& range,
                      DecoderActivations& memory);

  // Memory for `rows` rows, with room for all layers' activations if `keep`. It returns to the pool
  // when its last pointer is gone.
  std::shared_ptr<DecoderActivations> borrow_memory(std::int64_t rows, bool keep);

  // Whether there are adapters that are trained, and all their numbers, for autograd.
  bool trains() const;
  std::optional<at::Tensor> trained() const;

 private:
  std::shared_ptr<const DecoderWeights> weights_;
  RopeTable rope_;
  std::vector<std::shared_ptr<DecoderActivations>> pool_;
};

// DecoderStack::forward as a differentiable function of embeds and trained adapters.
at::Tensor run_stack(std::shared_ptr<DecoderStack> stack, const at::Tensor& embeds,
                     PackedRange range);

}  // namespace blip2

#pragma once

#include <torch/torch.h>

#include <memory>
#include <vector>

#include "blip2/language/decoder_weights.h"
#include "blip2/language/rope_table.h"

namespace blip2 {

// What one forward pass keeps for its backward pass, and its working memory. Lent out again once
// the pass is over: fresh memory would cost as much as the norms and activations do.
struct DecoderActivations {
  std::int64_t rows = 0, layers = 0;  // as the memory was made; one layer if nothing is kept
  at::Tensor inputs;                  // [L + 1, N, D] f32: each layer's input, then the last output
  at::Tensor middles;                 // [L, N, D] f32: after attention
  at::Tensor qkv;                     // [L, N, Q + 2 K]: rotated
  at::Tensor plain;                   // [L, N, Q + K]: before the norms of heads; [L, N, 0] without
  at::Tensor gate_up;                 // [L, N, 2 F], [L, N, F] without a gate
  at::Tensor narrow, wide, delta;     // [N, max(D, Q)], [N, F], [N, max(D, Q)]: working memory
  at::Tensor dqkv, dgate_up;          // working memory of the backward pass
};

// The layers of a decoder over packed sequences, forward and backward, with the weights frozen: one
// node of the autograd graph for the whole stack. Products go through ATen, the rest through
// nn/kernels.
class DecoderStack {
 public:
  explicit DecoderStack(std::shared_ptr<const DecoderWeights> weights);

  using Offsets = std::vector<std::int64_t>;
  // embeds [N, D] f32 -> [N, D] f32. With `keep`, the activations serve one backward pass.
  at::Tensor forward(const at::Tensor& embeds, const Offsets& offsets, DecoderActivations& memory,
                     bool keep);
  // The gradient of forward's result -> the gradient of embeds.
  at::Tensor backward(const at::Tensor& gradient, const Offsets& offsets,
                      DecoderActivations& memory);

  // Memory for `rows` rows, the layers' activations kept or not.
  std::shared_ptr<DecoderActivations> borrow_memory(std::int64_t rows, bool keep);

 private:
  std::shared_ptr<const DecoderWeights> weights_;
  RopeTable rope_;
  std::vector<std::shared_ptr<DecoderActivations>> pool_;
};

// forward as a differentiable function of embeds.
at::Tensor run_stack(std::shared_ptr<DecoderStack> stack, const at::Tensor& embeds,
                     std::vector<std::int64_t> offsets);

}  // namespace blip2

#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blip2/io/gguf.h"
#include "blip2/io/tensor_file.h"
#include "blip2/language/llama_config.h"
#include "blip2/language/llama_weights.h"

namespace blip2 {

class LlamaStack;

// A frozen Llama-family language model. Its buffers have Hugging Face's names
// ("model.layers.0.self_attn.q_proj.weight"); it has no trainable parameters: gradients reach the
// input embeddings only. Products are computed in dtype(), f32 or bf16; the residual stream, norms,
// softmax and losses are f32.
class Llama : public torch::nn::Module {
 public:
  explicit Llama(std::shared_ptr<LlamaWeights> weights);
  ~Llama() override;

  const LlamaConfig& config() const { return weights_->config; }
  at::ScalarType dtype() const { return weights_->dtype; }
  std::shared_ptr<LlamaWeights> weights() const { return weights_; }

  // The embeddings of token ids (int64, any shape): [...] -> [..., D] f32.
  at::Tensor embed(const at::Tensor& ids) const;

  // Sequences without padding, one after another: sequence i is rows [offsets[i], offsets[i + 1]).
  // embeds [N, D] f32 -> hidden states after the final norm, [N, D] f32. This is the fast way.
  at::Tensor forward_packed(const at::Tensor& embeds, std::vector<std::int64_t> offsets);

  // Right-padded rows of the given lengths: [B, T, D] -> [B, T, D], zero at the padding.
  at::Tensor forward(const at::Tensor& embeds, std::span<const std::int64_t> lengths);

  // Next-token logits of hidden states: [..., D] f32 -> [..., V] f32. Differentiable; ask for the
  // positions needed only, each costs V * D products.
  at::Tensor logits(const at::Tensor& hidden) const;

  // Cross-entropy at each position: hidden [M, D], targets [M] int64 in [0, V) -> [M] f32, nats.
  // Equal to cross_entropy(logits(hidden), targets, "none") without ever holding all logits.
  at::Tensor token_loss(const at::Tensor& hidden, const at::Tensor& targets) const;

 private:
  std::shared_ptr<LlamaWeights> weights_;
  std::shared_ptr<LlamaStack> stack_;
};

// From a model directory's weights: Hugging Face names under `prefix` ("language_model.").
std::shared_ptr<Llama> load_llama(std::shared_ptr<const TensorFile> file, const LlamaConfig& config,
                                  at::ScalarType dtype, const std::string& prefix = {});

// From a GGUF file, configuration included; quantised weights are dequantised.
std::shared_ptr<Llama> load_llama_gguf(std::shared_ptr<const GgufFile> file, at::ScalarType dtype);

}  // namespace blip2

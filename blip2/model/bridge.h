#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "blip2/model/config.h"
#include "blip2/qformer/stage1_heads.h"

namespace blip2 {

// The trained part of a model, between the frozen parts: the norm of the image features, the
// queries, the Q-Former, the heads of stage 1 and the projection into the language model. Member
// names are those of Hugging Face's Blip2ForImageTextRetrieval and Blip2ForConditionalGeneration,
// with LAVIS's `ln_vision`. Only this program has `ln_language`, the norm of the language model's
// states, and the projections language_key and language_value of a cross-attention that reads them.
class Bridge : public torch::nn::Module {
 public:
  // Random weights from `seed`: N(0, initializer_range), as in BERT. Without a seed the parameters
  // have no memory until adopt() gives it to them.
  explicit Bridge(const Blip2Config& config, std::optional<std::uint64_t> seed = 0);

  const Blip2Config& config() const { return config_; }
  Norm feature_norm() const;
  // Of a language model's states, if the Q-Former reads them.
  std::optional<Norm> language_norm() const;
  // The trained parts of stage 1; Error if there are no stage-1 heads.
  Stage1Parts stage1_parts() const;
  // Soft prompts of hidden queries: [B, Q, D] -> [B, Q, width of the language model] f32.
  at::Tensor soft_prompts(const at::Tensor& hidden) const;

  torch::nn::LayerNorm ln_vision{nullptr};
  torch::nn::LayerNorm ln_language{nullptr};  // empty if the Q-Former reads no language model
  at::Tensor query_tokens;                    // [1, Q, D]
  std::shared_ptr<QFormer> qformer;
  std::shared_ptr<Stage1Heads> heads;              // nullptr without stage-1 heads
  torch::nn::Linear language_projection{nullptr};  // empty without a language model

 private:
  Blip2Config config_;
};

}  // namespace blip2

#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "blip2/io/tensor_file.h"
#include "blip2/qformer/config.h"
#include "blip2/qformer/layers.h"
#include "blip2/qformer/pass.h"

namespace blip2 {

// The Querying Transformer (arXiv 2301.12597, section 3.1): a BERT whose learned queries read a
// picture by cross-attention and share self-attention with text. Parameters are f32, named as in
// Hugging Face's Blip2QFormerModel, with `embeddings` beside them if it reads text.
class QFormer : public torch::nn::Module {
 public:
  // Random weights by set_random with initializer_range; without a seed the parameters have no
  // memory. Throws Error for an impossible configuration.
  explicit QFormer(const QFormerConfig& config, std::optional<std::uint64_t> seed = 0);

  const QFormerConfig& config() const { return config_; }

  // A pass with the present weights. Make one for each training step, or keep one for inference.
  // Throws Error for a compute type other than f32 and bf16.
  QFormerPass pass(const ComputeOptions& options = {}) const;

  // Starts from a BERT checkpoint (names with or without "bert."): the text path gets BERT's
  // weights, and the queries' feed-forwards get copies of BERT's. Cross-attention and words beyond
  // BERT's vocabulary ([DEC]) keep their random weights. The embedding of token type 0 is added to
  // the position embeddings, which equals BERT's sum. Throws Error that lists the tensors which are
  // missing or whose shapes differ.
  void init_from_bert(const std::shared_ptr<const TensorFile>& bert);

  TextEmbeddings embeddings{nullptr};
  torch::nn::LayerNorm layernorm{nullptr};
  QFormerEncoder encoder{nullptr};

  const QFormerLayerImpl& layer(std::int64_t index) const;

 private:
  QFormerConfig config_;
};

// Learned queries [1,Q,D] ~ N(0, 0.02), from `seed`.
at::Tensor random_query_tokens(std::int64_t queries, std::int64_t width, std::uint64_t seed,
                               double deviation = 0.02);
// Random weights as in BERT: weights N(0, deviation), biases 0, norms 1 and 0; scalars stay
// unchanged.
void set_random(torch::nn::Module& module, double deviation, std::uint64_t seed);
// Fills `out` with N(0, deviation) in the order of its elements, from `seed`.
void fill_normal(at::Tensor out, double deviation, std::uint64_t seed);

}  // namespace blip2

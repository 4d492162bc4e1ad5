#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>

#include "blip2/qformer/config.h"
#include "blip2/qformer/pass.h"
#include "blip2/qformer/qformer.h"

namespace blip2 {

// BERT's language-model head without its matrix, which is the word embeddings:
// predictions.transform.{dense,LayerNorm} and predictions.bias [V].
struct GenerationTransformImpl : torch::nn::Module {
  explicit GenerationTransformImpl(const QFormerConfig& config);
  torch::nn::Linear dense{nullptr};
  torch::nn::LayerNorm LayerNorm{nullptr};
};
TORCH_MODULE(GenerationTransform);

struct GenerationPredictionsImpl : torch::nn::Module {
  explicit GenerationPredictionsImpl(const QFormerConfig& config);
  GenerationTransform transform{nullptr};
  at::Tensor bias;
};
TORCH_MODULE(GenerationPredictions);

struct GenerationHeadImpl : torch::nn::Module {
  explicit GenerationHeadImpl(const QFormerConfig& config);
  GenerationPredictions predictions{nullptr};

  // Hidden [N,D] -> the states [N,D] that are multiplied with the word embeddings, of the same
  // type.
  at::Tensor transform(const at::Tensor& hidden) const;
  // Hidden [N,D] and word embeddings [V,D] of one type -> logits [N,V] f32.
  at::Tensor logits(const at::Tensor& hidden, const at::Tensor& words) const;
};
TORCH_MODULE(GenerationHead);

// The heads of stage 1 under the names of Hugging Face's Blip2ForImageTextRetrieval. `cls` and
// `temperature`, which that class lacks, follow LAVIS.
class Stage1Heads : public torch::nn::Module {
 public:
  // Random weights by set_random with initializer_range, temperature 0.07; without a seed the other
  // parameters have no memory.
  Stage1Heads(const QFormerConfig& config, std::int64_t projection_size = 256,
              std::optional<std::uint64_t> seed = 0);

  torch::nn::Linear vision_projection{nullptr}, text_projection{nullptr}, itm_head{nullptr};
  GenerationHead cls{nullptr};
  at::Tensor temperature;  // []
};

// The trained parts of stage 1.
struct Stage1Parts {
  const QFormer& qformer;
  const Stage1Heads& heads;
  at::Tensor query_tokens;                  // [1,Q,D]
  std::optional<Norm> norm = std::nullopt;  // LayerNorm on the features
  // LayerNorm on a language model's states, if the Q-Former reads them.
  std::optional<Norm> language_norm = std::nullopt;
};

// Projects hidden states [...,D] by a matrix [E,D] and scales them to unit vectors f32 [...,E].
at::Tensor unit_vectors(const at::Tensor& hidden, const torch::nn::Linear& projection);
// Unit vectors of queries [I,Q,E] and texts [N,E] -> [I,N], the cosine of the best query.
at::Tensor best_cosine(const at::Tensor& queries, const at::Tensor& texts);
// Joint query states [R,Q,D] -> [R,2] f32, the mean of the queries' logits.
at::Tensor matching_logits(const at::Tensor& queries, const torch::nn::Linear& head);

// Functions for retrieval and matching, without gradient. Pictures' unit vectors [I,Q,E] and texts'
// [N,E], f32.
at::Tensor embed_images(const Stage1Parts& parts, const QFormerPass& pass,
                        const ImageKeysValues& images);
at::Tensor embed_texts(const Stage1Parts& parts, const QFormerPass& pass, const TextRows& text);
// Matching logits [R,2] f32 of the pairs.
at::Tensor match(const Stage1Parts& parts, const QFormerPass& pass, const ImageKeysValues& images,
                 const TextRows& text, const Pairs& pairs);

}  // namespace blip2

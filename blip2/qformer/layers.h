#pragma once

#include <torch/torch.h>

#include "blip2/qformer/config.h"

namespace blip2 {

// The Q-Former's parameters under the member names of Hugging Face's Blip2QFormerModel. These
// modules hold weights; the computation is in pass.h.

// A linear layer whose parameters have no memory yet; the caller sets them.
torch::nn::Linear unset_linear(std::int64_t inputs, std::int64_t outputs);

struct TextEmbeddingsImpl : torch::nn::Module {
  explicit TextEmbeddingsImpl(const QFormerConfig& config);
  torch::nn::Embedding word_embeddings{nullptr}, position_embeddings{nullptr};
};
TORCH_MODULE(TextEmbeddings);

// The query, key and value projections; in cross-attention key and value read the image features,
// and language_key and language_value the language model's states, if the Q-Former reads them.
struct AttentionProjectionsImpl : torch::nn::Module {
  AttentionProjectionsImpl(const QFormerConfig& config, bool cross);
  torch::nn::Linear query{nullptr}, key{nullptr}, value{nullptr};
  torch::nn::Linear language_key{nullptr}, language_value{nullptr};
};
TORCH_MODULE(AttentionProjections);

// LayerNorm(dense(x) + residual).
struct ResidualOutputImpl : torch::nn::Module {
  ResidualOutputImpl(const QFormerConfig& config, std::int64_t inputs);
  torch::nn::Linear dense{nullptr};
  torch::nn::LayerNorm LayerNorm{nullptr};
};
TORCH_MODULE(ResidualOutput);

struct AttentionBlockImpl : torch::nn::Module {
  AttentionBlockImpl(const QFormerConfig& config, bool cross);
  AttentionProjections attention{nullptr};
  ResidualOutput output{nullptr};
};
TORCH_MODULE(AttentionBlock);

struct IntermediateImpl : torch::nn::Module {
  explicit IntermediateImpl(const QFormerConfig& config);
  torch::nn::Linear dense{nullptr};
};
TORCH_MODULE(Intermediate);

// `crossattention` is empty in layers without it; `intermediate` and `output` (the text's
// feed-forward) are empty in a Q-Former without text.
struct QFormerLayerImpl : torch::nn::Module {
  QFormerLayerImpl(const QFormerConfig& config, std::int64_t index);
  AttentionBlock attention{nullptr}, crossattention{nullptr};
  Intermediate intermediate{nullptr}, intermediate_query{nullptr};
  ResidualOutput output{nullptr}, output_query{nullptr};
};
TORCH_MODULE(QFormerLayer);

struct QFormerEncoderImpl : torch::nn::Module {
  explicit QFormerEncoderImpl(const QFormerConfig& config);
  torch::nn::ModuleList layer;
};
TORCH_MODULE(QFormerEncoder);

}  // namespace blip2

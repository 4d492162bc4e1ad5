#include "blip2/qformer/layers.h"

namespace blip2 {

using torch::nn::Embedding;
using torch::nn::LayerNorm;
using torch::nn::LayerNormOptions;
using torch::nn::Linear;

namespace {

// Without PyTorch's own random start, which QFormer replaces.
Embedding empty_embedding(std::int64_t rows, std::int64_t width) {
  return Embedding(torch::nn::EmbeddingOptions(rows, width)._weight(at::empty({rows, width})));
}

}  // namespace

TextEmbeddingsImpl::TextEmbeddingsImpl(const QFormerConfig& config) {
  word_embeddings =
      register_module("word_embeddings", empty_embedding(config.vocab_size, config.hidden_size));
  position_embeddings = register_module(
      "position_embeddings", empty_embedding(config.max_position_embeddings, config.hidden_size));
}

AttentionProjectionsImpl::AttentionProjectionsImpl(const QFormerConfig& config, bool cross) {
  const std::int64_t source = cross ? config.encoder_hidden_size : config.hidden_size;
  query = register_module("query", Linear(config.hidden_size, config.hidden_size));
  key = register_module("key", Linear(source, config.hidden_size));
  value = register_module("value", Linear(source, config.hidden_size));
}

ResidualOutputImpl::ResidualOutputImpl(const QFormerConfig& config, std::int64_t inputs) {
  dense = register_module("dense", Linear(inputs, config.hidden_size));
  LayerNorm = register_module(
      "LayerNorm",
      torch::nn::LayerNorm(LayerNormOptions({config.hidden_size}).eps(config.layer_norm_eps)));
}

AttentionBlockImpl::AttentionBlockImpl(const QFormerConfig& config, bool cross) {
  attention = register_module("attention", AttentionProjections(config, cross));
  output = register_module("output", ResidualOutput(config, config.hidden_size));
}

IntermediateImpl::IntermediateImpl(const QFormerConfig& config) {
  dense = register_module("dense", Linear(config.hidden_size, config.intermediate_size));
}

QFormerLayerImpl::QFormerLayerImpl(const QFormerConfig& config, std::int64_t index) {
  attention = register_module("attention", AttentionBlock(config, false));
  if (config.crosses(index)) {
    crossattention = register_module("crossattention", AttentionBlock(config, true));
  }
  if (config.use_qformer_text_input) {
    intermediate = register_module("intermediate", Intermediate(config));
    output = register_module("output", ResidualOutput(config, config.intermediate_size));
  }
  intermediate_query = register_module("intermediate_query", Intermediate(config));
  output_query = register_module("output_query", ResidualOutput(config, config.intermediate_size));
}

QFormerEncoderImpl::QFormerEncoderImpl(const QFormerConfig& config) {
  layer = register_module("layer", torch::nn::ModuleList());
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    layer->push_back(QFormerLayer(config, i));
  }
}

}  // namespace blip2

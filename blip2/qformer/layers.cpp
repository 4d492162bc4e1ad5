#include "blip2/qformer/layers.h"

#include "blip2/nn/tensor_bridge.h"

namespace blip2 {

using torch::nn::Embedding;
using torch::nn::LayerNorm;
using torch::nn::LayerNormOptions;

namespace {

// Without PyTorch's own random start, as unset_linear.
Embedding unset_embedding(std::int64_t rows, std::int64_t width) {
  return Embedding(torch::nn::EmbeddingOptions(rows, width)._weight(without_memory({rows, width})));
}

}  // namespace

torch::nn::Linear unset_linear(std::int64_t inputs, std::int64_t outputs) {
  const at::NoGradGuard no_grad;
  torch::nn::Linear linear(1, 1);
  linear->options.in_features(inputs).out_features(outputs);
  linear->weight.set_data(without_memory({outputs, inputs}));
  linear->bias.set_data(without_memory({outputs}));
  return linear;
}

TextEmbeddingsImpl::TextEmbeddingsImpl(const QFormerConfig& config) {
  word_embeddings =
      register_module("word_embeddings", unset_embedding(config.vocab_size, config.hidden_size));
  position_embeddings = register_module(
      "position_embeddings", unset_embedding(config.max_position_embeddings, config.hidden_size));
}

AttentionProjectionsImpl::AttentionProjectionsImpl(const QFormerConfig& config, bool cross) {
  const std::int64_t source = cross ? config.encoder_hidden_size : config.hidden_size;
  query = register_module("query", unset_linear(config.hidden_size, config.hidden_size));
  key = register_module("key", unset_linear(source, config.hidden_size));
  value = register_module("value", unset_linear(source, config.hidden_size));
  if (!cross || !config.reads_language()) return;
  const std::int64_t language = config.language_hidden_size;
  language_key = register_module("language_key", unset_linear(language, config.hidden_size));
  language_value = register_module("language_value", unset_linear(language, config.hidden_size));
}

ResidualOutputImpl::ResidualOutputImpl(const QFormerConfig& config, std::int64_t inputs) {
  dense = register_module("dense", unset_linear(inputs, config.hidden_size));
  LayerNorm = register_module(
      "LayerNorm",
      torch::nn::LayerNorm(LayerNormOptions({config.hidden_size}).eps(config.layer_norm_eps)));
}

AttentionBlockImpl::AttentionBlockImpl(const QFormerConfig& config, bool cross) {
  attention = register_module("attention", AttentionProjections(config, cross));
  output = register_module("output", ResidualOutput(config, config.hidden_size));
}

IntermediateImpl::IntermediateImpl(const QFormerConfig& config) {
  dense = register_module("dense", unset_linear(config.hidden_size, config.intermediate_size));
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

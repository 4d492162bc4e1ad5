#include "blip2/qformer/pass_weights_internal.h"

namespace blip2 {
namespace {

Norm norm_of(const torch::nn::LayerNorm& norm) {
  return {norm->weight, norm->bias, norm->options.eps()};
}

OutputWeights output_of(const ResidualOutputImpl& output, at::ScalarType type) {
  return {Linear::trained(output.dense->weight, output.dense->bias, type),
          norm_of(output.LayerNorm)};
}

FeedForwardWeights feed_forward_of(const IntermediateImpl& up, const ResidualOutputImpl& down,
                                   at::ScalarType type) {
  return {Linear::trained(up.dense->weight, up.dense->bias, type), output_of(down, type)};
}

CrossWeights cross_of(const AttentionBlockImpl& block, at::ScalarType type) {
  const AttentionProjectionsImpl& projections = *block.attention;
  CrossWeights weights{Linear::trained(projections.query->weight, projections.query->bias, type),
                       at::cat({projections.key->weight, projections.value->weight}),
                       at::cat({projections.key->bias, projections.value->bias}),
                       {},
                       {},
                       output_of(*block.output, type)};
  if (projections.language_key.is_empty()) return weights;
  const auto &key = *projections.language_key, &value = *projections.language_value;
  weights.language = at::cat({key.weight, value.weight});
  weights.language_bias = at::cat({key.bias, value.bias});
  return weights;
}

Linear fused_qkv(const AttentionProjectionsImpl& projections, at::ScalarType type) {
  const at::Tensor weight =
      at::cat({projections.query->weight, projections.key->weight, projections.value->weight});
  const at::Tensor bias =
      at::cat({projections.query->bias, projections.key->bias, projections.value->bias});
  return Linear::trained(weight, bias, type);
}

LayerWeights weights_of(const QFormerLayerImpl& layer, at::ScalarType type) {
  LayerWeights weights{
      fused_qkv(*layer.attention->attention, type),
      output_of(*layer.attention->output, type),
      std::nullopt,
      std::nullopt,
      feed_forward_of(*layer.intermediate_query, *layer.output_query, type),
  };
  if (!layer.crossattention.is_empty()) weights.cross = cross_of(*layer.crossattention, type);
  if (!layer.intermediate.is_empty()) {
    weights.text = feed_forward_of(*layer.intermediate, *layer.output, type);
  }
  return weights;
}

}  // namespace

PassWeights::PassWeights(const QFormer& model, at::ScalarType type)
    : embedding_norm(norm_of(model.layernorm)), type_(type) {
  for (std::int64_t i = 0; i < model.config().num_hidden_layers; ++i) {
    layers.push_back(weights_of(model.layer(i), type));
  }
  if (!model.embeddings.is_empty()) {
    words = model.embeddings->word_embeddings->weight;
    positions = model.embeddings->position_embeddings->weight;
  }
}

const at::Tensor& PassWeights::compute_words() const {
  std::call_once(converted_, [&] {
    if (words.defined()) compute_words_ = words.detach().to(type_);
  });
  return compute_words_;
}

}  // namespace blip2

#include "blip2/objectives/heads.h"

#include "blip2/base/random.h"
#include "blip2/qformer/qformer.h"

namespace blip2 {

GenerationTransformImpl::GenerationTransformImpl(const QFormerConfig& config) {
  dense = register_module("dense", torch::nn::Linear(config.hidden_size, config.hidden_size));
  LayerNorm = register_module(
      "LayerNorm",
      torch::nn::LayerNorm(
          torch::nn::LayerNormOptions({config.hidden_size}).eps(config.layer_norm_eps)));
}

GenerationPredictionsImpl::GenerationPredictionsImpl(const QFormerConfig& config) {
  transform = register_module("transform", GenerationTransform(config));
  bias = register_parameter("bias", at::zeros({config.vocab_size}));
}

GenerationHeadImpl::GenerationHeadImpl(const QFormerConfig& config) {
  predictions = register_module("predictions", GenerationPredictions(config));
}

at::Tensor GenerationHeadImpl::transform(const at::Tensor& hidden) const {
  const GenerationTransformImpl& transform = *predictions->transform;
  const at::ScalarType type = hidden.scalar_type();
  const at::Tensor inner = at::gelu(
      at::linear(hidden, transform.dense->weight.to(type), transform.dense->bias.to(type)));
  const torch::nn::LayerNorm& norm = transform.LayerNorm;
  return at::layer_norm(inner.to(at::kFloat), norm->options.normalized_shape(), norm->weight,
                        norm->bias, norm->options.eps())
      .to(type);
}

at::Tensor GenerationHeadImpl::logits(const at::Tensor& hidden, const at::Tensor& words) const {
  return at::mm(transform(hidden), words.t()).to(at::kFloat) + predictions->bias;
}

Stage1Heads::Stage1Heads(const QFormerConfig& config, std::int64_t projection_size,
                         std::uint64_t seed) {
  using torch::nn::Linear;
  vision_projection =
      register_module("vision_projection", Linear(config.hidden_size, projection_size));
  text_projection = register_module("text_projection", Linear(config.hidden_size, projection_size));
  itm_head = register_module("itm_head", Linear(config.hidden_size, 2));
  cls = register_module("cls", GenerationHead(config));
  temperature = register_parameter("temperature", at::full({}, 0.07));
  const at::NoGradGuard no_grad;
  std::uint64_t index = 0;
  for (const auto& parameter : named_parameters()) {
    if (parameter.value().dim() > 1) {
      fill_normal(parameter.value(), config.initializer_range, derive_seed(seed, index));
    } else if (parameter.key().ends_with("bias")) {
      parameter.value().zero_();
    }
    ++index;
  }
}

}  // namespace blip2

#include "blip2/qformer/stage1_heads.h"

#include "blip2/nn/tensor_bridge.h"

namespace blip2 {

GenerationTransformImpl::GenerationTransformImpl(const QFormerConfig& config) {
  dense = register_module("dense", unset_linear(config.hidden_size, config.hidden_size));
  LayerNorm = register_module(
      "LayerNorm",
      torch::nn::LayerNorm(
          torch::nn::LayerNormOptions({config.hidden_size}).eps(config.layer_norm_eps)));
}

GenerationPredictionsImpl::GenerationPredictionsImpl(const QFormerConfig& config) {
  transform = register_module("transform", GenerationTransform(config));
  bias = register_parameter("bias", without_memory({config.vocab_size}));
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
                         std::optional<std::uint64_t> seed) {
  vision_projection =
      register_module("vision_projection", unset_linear(config.hidden_size, projection_size));
  text_projection =
      register_module("text_projection", unset_linear(config.hidden_size, projection_size));
  itm_head = register_module("itm_head", unset_linear(config.hidden_size, 2));
  cls = register_module("cls", GenerationHead(config));
  temperature = register_parameter("temperature", at::full({}, 0.07));
  if (seed) set_random(*this, config.initializer_range, *seed);
}

at::Tensor unit_vectors(const at::Tensor& hidden, const torch::nn::Linear& projection) {
  namespace F = torch::nn::functional;
  const at::Tensor projected =
      at::linear(hidden.to(at::kFloat), projection->weight, projection->bias);
  return F::normalize(projected, F::NormalizeFuncOptions().dim(-1));
}

at::Tensor best_cosine(const at::Tensor& queries, const at::Tensor& texts) {
  const at::Tensor all = at::matmul(queries, texts.t());  // [I,Q,N]
  return all.amax(1);                                     // [I,N]
}

at::Tensor matching_logits(const at::Tensor& queries, const torch::nn::Linear& head) {
  // The mean of linear maps is the linear map of the mean.
  return at::linear(queries.to(at::kFloat).mean(1), head->weight, head->bias);  // [R,2]
}

at::Tensor embed_images(const Stage1Parts& parts, const QFormerPass& pass,
                        const ImageKeysValues& images) {
  return unit_vectors(pass.encode_queries(parts.query_tokens, images).hidden,
                      parts.heads.vision_projection);
}

at::Tensor embed_texts(const Stage1Parts& parts, const QFormerPass& pass, const TextRows& text) {
  return unit_vectors(pass.encode_first_tokens(text), parts.heads.text_projection);
}

at::Tensor match(const Stage1Parts& parts, const QFormerPass& pass, const ImageKeysValues& images,
                 const TextRows& text, const Pairs& pairs) {
  return matching_logits(pass.encode_multimodal(parts.query_tokens, images, text, pairs).queries,
                         parts.heads.itm_head);
}

}  // namespace blip2

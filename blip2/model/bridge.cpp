#include "blip2/model/bridge.h"

#include "blip2/base/error.h"
#include "blip2/base/random.h"

namespace blip2 {
namespace {

// Streams of the initial weights.
enum : std::uint64_t { kQFormerSeed = 1, kQuerySeed, kHeadsSeed, kProjectionSeed };

torch::nn::Linear make_projection(const Blip2Config& config, std::uint64_t seed) {
  torch::nn::Linear projection(config.qformer.hidden_size, language_width(*config.language));
  const at::NoGradGuard no_grad;
  fill_normal(projection->weight, config.qformer.initializer_range, seed);
  projection->bias.zero_();
  return projection;
}

}  // namespace

Bridge::Bridge(const Blip2Config& config, std::uint64_t seed) : config_(config) {
  const QFormerConfig& qformer_config = config.qformer;
  ln_vision = register_module(
      "ln_vision",
      torch::nn::LayerNorm(torch::nn::LayerNormOptions({qformer_config.encoder_hidden_size})
                               .eps(config.feature_norm_eps)));
  query_tokens = register_parameter(
      "query_tokens", random_query_tokens(config.num_query_tokens, qformer_config.hidden_size,
                                          derive_seed(seed, kQuerySeed)));
  qformer = register_module(
      "qformer", std::make_shared<QFormer>(qformer_config, derive_seed(seed, kQFormerSeed)));
  if (config.stage1_heads) {
    heads = register_module(
        "heads", std::make_shared<Stage1Heads>(qformer_config, config.image_text_hidden_size,
                                               derive_seed(seed, kHeadsSeed)));
  }
  if (config.language) {
    language_projection = register_module(
        "language_projection", make_projection(config, derive_seed(seed, kProjectionSeed)));
  }
}

FeatureNorm Bridge::feature_norm() const {
  return {ln_vision->weight, ln_vision->bias, config_.feature_norm_eps};
}

Stage1Parts Bridge::stage1_parts() const {
  if (!heads) {
    throw Error("the model has no stage-1 heads", "config.json: stage1_heads",
                "contrast and matching need a model of stage 1");
  }
  return {*qformer, *heads, query_tokens, feature_norm()};
}

at::Tensor Bridge::soft_prompts(const at::Tensor& hidden) const {
  TORCH_CHECK(!language_projection.is_empty(), "soft prompts need a language model");
  return at::linear(hidden.to(at::kFloat), language_projection->weight, language_projection->bias);
}

}  // namespace blip2

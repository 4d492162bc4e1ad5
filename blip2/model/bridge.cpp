#include "blip2/model/bridge.h"

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

torch::nn::LayerNorm layer_norm_of(std::int64_t width, double eps) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).eps(eps));
}

// Streams of the initial weights.
enum : std::uint64_t { kQFormerSeed = 1, kQuerySeed, kHeadsSeed, kProjectionSeed };

}  // namespace

Bridge::Bridge(const Blip2Config& config, std::optional<std::uint64_t> seed) : config_(config) {
  const QFormerConfig& c = config.qformer;
  const auto stream = [seed](std::uint64_t number) -> std::optional<std::uint64_t> {
    if (!seed) return std::nullopt;
    return derive_seed(*seed, number);
  };
  ln_vision =
      register_module("ln_vision", layer_norm_of(c.encoder_hidden_size, config.feature_norm_eps));
  if (c.reads_language()) {
    ln_language = register_module("ln_language",
                                  layer_norm_of(c.language_hidden_size, config.feature_norm_eps));
  }
  query_tokens = register_parameter(
      "query_tokens",
      seed ? random_query_tokens(config.num_query_tokens, c.hidden_size, *stream(kQuerySeed))
           : without_memory({1, config.num_query_tokens, c.hidden_size}));
  qformer = register_module("qformer", std::make_shared<QFormer>(c, stream(kQFormerSeed)));
  if (config.stage1_heads) {
    heads = register_module("heads", std::make_shared<Stage1Heads>(c, config.image_text_hidden_size,
                                                                   stream(kHeadsSeed)));
  }
  if (config.language) {
    language_projection = register_module(
        "language_projection", unset_linear(c.hidden_size, language_width(*config.language)));
    if (!seed) return;
    const at::NoGradGuard no_grad;
    language_projection->weight.set_data(at::empty(language_projection->weight.sizes()));
    language_projection->bias.set_data(at::zeros(language_projection->bias.sizes()));
    fill_normal(language_projection->weight, c.initializer_range, *stream(kProjectionSeed));
  }
}

Norm Bridge::feature_norm() const {
  return {ln_vision->weight, ln_vision->bias, config_.feature_norm_eps};
}

std::optional<Norm> Bridge::language_norm() const {
  if (ln_language.is_empty()) return std::nullopt;
  return Norm{ln_language->weight, ln_language->bias, config_.feature_norm_eps};
}

Stage1Parts Bridge::stage1_parts() const {
  if (!heads) {
    throw Error("the model has no stage-1 heads", "config.json: stage1_heads",
                "contrast and matching need a model of stage 1");
  }
  return {*qformer, *heads, query_tokens, feature_norm(), language_norm()};
}

at::Tensor Bridge::soft_prompts(const at::Tensor& hidden) const {
  TORCH_CHECK(!language_projection.is_empty(), "soft prompts need a language model");
  return at::linear(hidden.to(at::kFloat), language_projection->weight, language_projection->bias);
}

}  // namespace blip2

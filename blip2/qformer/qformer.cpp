#include "blip2/qformer/qformer.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/nn/adopt.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {
namespace {

void copy_rows(at::Tensor into, const at::Tensor& from, const std::string& what) {
  const bool fits = from.dim() == into.dim() && from.sizes().slice(1) == into.sizes().slice(1) &&
                    from.size(0) <= into.size(0);
  if (!fits) {
    throw Error(fmt::format("{}: expected at most {}, got {}", what, shape_text(into.sizes()),
                            shape_text(from.sizes())),
                "BERT checkpoint", "the Q-Former's width and length must be BERT's");
  }
  into.narrow(0, 0, from.size(0)).copy_(from);
}

// BERT's name of a parameter of the encoder, empty for those that it has not.
std::string bert_name(std::string name) {
  if (name.find("crossattention") != std::string::npos) return {};
  const auto replace = [&name](const std::string& from, const std::string& to) {
    const auto at = name.find(from);
    if (at != std::string::npos) name.replace(at, from.size(), to);
  };
  replace("intermediate_query", "intermediate");
  replace("output_query", "output");
  replace("attention.attention", "attention.self");
  return "encoder." + name;
}

}  // namespace

void fill_normal(at::Tensor out, double deviation, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  at::Tensor values = at::empty(out.sizes(), at::kFloat);
  float* data = values.mutable_data_ptr<float>();
  const std::int64_t count = values.numel();
  // Each pair is a function of its place (Box and Muller 1958), whatever the number of threads.
  at::parallel_for(0, (count + 1) / 2, 1 << 12, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t pair = begin; pair < end; ++pair) {
      Random random(derive_seed(seed, pair));
      const auto uniform = [&random] { return static_cast<float>(random.next() >> 40) * 0x1p-24f; };
      const float radius = static_cast<float>(deviation) * std::sqrt(-2 * std::log(1 - uniform()));
      const float angle = 2 * std::numbers::pi_v<float> * uniform();
      data[2 * pair] = radius * std::cos(angle);
      if (2 * pair + 1 < count) data[2 * pair + 1] = radius * std::sin(angle);
    }
  });
  out.copy_(values);
}

void set_random(torch::nn::Module& module, double deviation, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  std::uint64_t index = 0;
  for (auto& parameter : module.named_parameters()) {
    at::Tensor& value = parameter.value();
    if (value.dim() > 0) value.set_data(at::empty(value.sizes()));
    if (value.dim() > 1) {
      fill_normal(value, deviation, derive_seed(seed, index));
    } else if (value.dim() == 1) {
      value.fill_(parameter.key().ends_with("bias") ? 0 : 1);
    }
    ++index;
  }
}

at::Tensor random_query_tokens(std::int64_t queries, std::int64_t width, std::uint64_t seed,
                               double deviation) {
  at::Tensor tokens = at::empty({1, queries, width});
  fill_normal(tokens, deviation, seed);
  return tokens.requires_grad_();
}

QFormer::QFormer(const QFormerConfig& config, std::optional<std::uint64_t> seed) : config_(config) {
  check_qformer_config(config, "Q-Former");
  if (config.use_qformer_text_input) {
    embeddings = register_module("embeddings", TextEmbeddings(config));
  }
  layernorm = register_module(
      "layernorm",
      torch::nn::LayerNorm(
          torch::nn::LayerNormOptions({config.hidden_size}).eps(config.layer_norm_eps)));
  encoder = register_module("encoder", QFormerEncoder(config));
  if (seed) set_random(*this, config.initializer_range, *seed);
}

const QFormerLayerImpl& QFormer::layer(std::int64_t index) const {
  return *encoder->layer->ptr<QFormerLayerImpl>(index);
}

QFormerPass QFormer::pass(const ComputeOptions& options) const {
  return QFormerPass(*this, options);
}

void QFormer::init_from_bert(const std::shared_ptr<const TensorFile>& bert) {
  std::vector<TensorSlot> slots;
  for (TensorSlot& slot : slots_of(*encoder)) {
    slot.name = bert_name(slot.name);
    if (!slot.name.empty()) slots.push_back(std::move(slot));
  }
  for (TensorSlot& slot : slots_of(*layernorm)) {
    slot.name = "embeddings.LayerNorm." + slot.name;
    slots.push_back(std::move(slot));
  }
  const std::string prefix = bert->find(slots.front().name) ? "" : "bert.";
  adopt(bert, slots, {.part = "Q-Former", .own = true, .prefix = prefix, .ignored = {"*"}});
  if (embeddings.is_empty()) return;
  const at::NoGradGuard no_grad;
  const auto table = [&](const std::string& name) {
    return to_tensor(bert->get(prefix + "embeddings." + name + ".weight"));
  };
  copy_rows(embeddings->word_embeddings->weight, table("word_embeddings"), "word embeddings");
  const at::Tensor positions = table("position_embeddings") + table("token_type_embeddings")[0];
  copy_rows(embeddings->position_embeddings->weight, positions, "positions");
}

}  // namespace blip2

#include "blip2/vision/clip_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/io/fields.h"

namespace blip2 {
namespace {

constexpr std::int64_t kMostWords = 1 << 24, kWrongEnd = 2;

// Its blocks as those of a vision transformer.
VitConfig blocks_of(const ClipTextConfig& text) {
  VitConfig config = VitConfig::of("clip_vision_model");
  config.hidden_size = text.hidden_size;
  config.intermediate_size = text.intermediate_size;
  config.num_hidden_layers = text.num_hidden_layers;
  config.num_attention_heads = text.num_attention_heads;
  config.layer_norm_eps = text.layer_norm_eps;
  config.hidden_act = text.hidden_act;
  return config;
}

void check_size(std::int64_t value, std::int64_t most, const std::string& where, const char* key) {
  if (value >= 1 && value <= most) return;
  throw Error(fmt::format("expected 1 to {}, got {}", most, value),
              fmt::format("{}: {}", where, key));
}

}  // namespace

ClipTextConfig read_clip_text_config(const nlohmann::json& json, const std::string& where) {
  constexpr std::int64_t kLargestSize = 1 << 16;
  nlohmann::json known = without_generic_keys(json);
  if (json.is_object() && json.contains("eos_token_id")) {
    known["eos_token_id"] = json["eos_token_id"];
  }
  ClipTextConfig config;
  read_fields(config, known, where);
  if (config.model_type != "clip_text_model") {
    throw Error(fmt::format("expected clip_text_model, got '{}'", config.model_type),
                where + ": model_type");
  }
  check_size(config.vocab_size, kMostWords, where, "vocab_size");
  check_size(config.max_position_embeddings, kLargestSize, where, "max_position_embeddings");
  check_vit_config(blocks_of(config), where);
  return config;
}

std::int64_t end_of_text(std::span<const std::int32_t> ids, std::int64_t eos_token_id) {
  const auto end = eos_token_id == kWrongEnd ? std::max_element(ids.begin(), ids.end())
                                             : std::find(ids.begin(), ids.end(), eos_token_id);
  if (end != ids.end()) return end - ids.begin();
  throw Error(
      fmt::format("expected the token {} that ends a text, its ids have none", eos_token_id), "",
      "eos_token_id of the text_config and the tokenizer do not belong together");
}

ClipTextEncoder::ClipTextEncoder(const ClipTextConfig& config) : config_(config) {
  const VitConfig blocks = blocks_of(config);
  const std::int64_t width = config.hidden_size;
  tokens_ = add_parameter(*this, "embeddings.token_embedding.weight", {config.vocab_size, width});
  positions_ = add_parameter(*this, "embeddings.position_embedding.weight",
                             {config.max_position_embeddings, width});
  blocks_ = vit_blocks(*this, "encoder.layers.", kClipBlockNames, blocks);
  last_norm_ = vit_norm(*this, "final_layer_norm", width, config.layer_norm_eps);
}

at::Tensor ClipTextEncoder::forward(std::span<const std::int32_t> ids) const {
  const auto length = std::ssize(ids);
  if (length > config_.max_position_embeddings) {
    throw Error(fmt::format("expected a text of at most {} tokens, got {}",
                            config_.max_position_embeddings, length));
  }
  for (const std::int32_t id : ids) {
    if (id >= 0 && id < config_.vocab_size) continue;
    throw Error(fmt::format("the text holds the token {}, the model has {} word embeddings", id,
                            config_.vocab_size));
  }
  const std::int64_t end = end_of_text(ids, config_.eos_token_id);
  const std::vector<std::int64_t> rows(ids.begin(), ids.end());
  const at::Tensor words = tokens_.index_select(0, at::tensor(rows, at::kLong));  // [T, D]
  at::Tensor x = (words + positions_.slice(0, 0, length)).unsqueeze(0);           // [1, T, D]
  for (const VitBlock& block : blocks_) x = block(x, {}, {}, /*causal=*/true);    // [1, T, D]
  return last_norm_(x.select(0, 0).select(0, end));                               // [D]
}

}  // namespace blip2

#include "blip2/language/t5_config.h"

#include <fmt/format.h>

#include "blip2/base/error.h"
#include "blip2/io/members.h"

namespace blip2 {
namespace {

using nlohmann::json;

constexpr std::int64_t largest_dimension =
    1 << 24;  // keeps every product of two sizes within 63 bits

void validate_tokens(const T5Config& c, const std::string& where) {
  const auto check = [&](const char* name, std::int32_t id) {
    need(id >= 0 && id < c.vocab_size, fmt::format("{} {} is not in the vocabulary", name, id),
         where);
  };
  check("pad_token_id", c.pad_token_id);
  check("decoder_start_token_id", c.decoder_start_token_id);
  if (c.bos_token_id >= 0) check("bos_token_id", c.bos_token_id);
  for (const std::int32_t id : c.eos_token_id) check("eos_token_id", id);
}

void validate(const T5Config& c, const std::string& where) {
  const std::pair<const char*, std::int64_t> sizes[] = {
      {"vocab_size", c.vocab_size},
      {"d_model", c.d_model},
      {"d_kv", c.d_kv},
      {"d_ff", c.d_ff},
      {"num_layers", c.num_layers},
      {"num_decoder_layers", c.num_decoder_layers},
      {"num_heads", c.num_heads},
      {"relative_attention_num_buckets", c.relative_attention_num_buckets},
      {"relative_attention_max_distance", c.relative_attention_max_distance},
  };
  for (const auto& [name, size] : sizes) {
    need(size > 0 && size <= largest_dimension,
         fmt::format("{}: expected 1 to {}, got {}", name, largest_dimension, size), where);
  }
  const std::int64_t buckets = c.relative_attention_num_buckets;
  need(buckets % 4 == 0,
       fmt::format("relative_attention_num_buckets: expected a multiple of 4, got {}", buckets),
       where);
  need(c.relative_attention_max_distance > buckets / 2,
       fmt::format("relative_attention_max_distance: expected more than half of the {} buckets, "
                   "got {}",
                   buckets, c.relative_attention_max_distance),
       where);
  need(c.layer_norm_epsilon >= 0,
       fmt::format("layer_norm_epsilon: expected 0 or more, got {}", c.layer_norm_epsilon), where);
  validate_tokens(c, where);
}

void read_activation(const json& object, T5Config& config, const std::string& where) {
  std::string activation = "relu", type = "t5";
  read_member(activation, object, "feed_forward_proj", where);
  need(activation == "gated-gelu" || activation == "relu",
       fmt::format("feed_forward_proj: expected 'gated-gelu' or 'relu', got '{}'", activation),
       where);
  config.gated_gelu = activation == "gated-gelu";
  // LAVIS sets dense_act_fn beside feed_forward_proj, and so BLIP-2's directories have it.
  std::string dense = config.gated_gelu ? "gelu_new" : "relu";
  read_member(dense, object, "dense_act_fn", where);
  config.exact_gelu = config.gated_gelu && dense == "gelu";
  need(config.exact_gelu || dense == (config.gated_gelu ? "gelu_new" : "relu"),
       fmt::format("dense_act_fn: expected {}, got '{}'",
                   config.gated_gelu ? "'gelu_new' or 'gelu'" : "'relu'", dense),
       where);
  read_member(type, object, "model_type", where);
  need(type == "t5", fmt::format("model_type: expected 't5', got '{}'", type), where);
}

}  // namespace

T5Config t5_config_from_json(const json& object, const std::string& where) {
  need(object.is_object(), "expected a table of keys", where);
  T5Config c;
  read_activation(object, c, where);
  read_member(c.vocab_size, object, "vocab_size", where);
  read_member(c.d_model, object, "d_model", where);
  read_member(c.d_kv, object, "d_kv", where);
  read_member(c.d_ff, object, "d_ff", where);
  read_member(c.num_layers, object, "num_layers", where);
  c.num_decoder_layers = c.num_layers;
  read_member(c.num_decoder_layers, object, "num_decoder_layers", where);
  read_member(c.num_heads, object, "num_heads", where);
  read_member(c.relative_attention_num_buckets, object, "relative_attention_num_buckets", where);
  read_member(c.relative_attention_max_distance, object, "relative_attention_max_distance", where);
  read_member(c.layer_norm_epsilon, object, "layer_norm_epsilon", where);
  read_member(c.pad_token_id, object, "pad_token_id", where);
  c.decoder_start_token_id = c.pad_token_id;
  read_member(c.decoder_start_token_id, object, "decoder_start_token_id", where);
  read_member(c.bos_token_id, object, "bos_token_id", where);
  read_member(c.eos_token_id, object, "eos_token_id", where);
  // transformers takes an untied head as the sign of T5 v1.1, which does not scale.
  c.scale_decoder_outputs = true;
  read_member(c.scale_decoder_outputs, object, "tie_word_embeddings", where);
  read_member(c.scale_decoder_outputs, object, "scale_decoder_outputs", where);
  validate(c, where);
  return c;
}

json t5_config_to_json(const T5Config& c) {
  json object = {
      {"model_type", "t5"},
      {"is_encoder_decoder", true},
      {"feed_forward_proj", c.gated_gelu ? "gated-gelu" : "relu"},
      {"vocab_size", c.vocab_size},
      {"d_model", c.d_model},
      {"d_kv", c.d_kv},
      {"d_ff", c.d_ff},
      {"num_layers", c.num_layers},
      {"num_decoder_layers", c.num_decoder_layers},
      {"num_heads", c.num_heads},
      {"relative_attention_num_buckets", c.relative_attention_num_buckets},
      {"relative_attention_max_distance", c.relative_attention_max_distance},
      {"layer_norm_epsilon", c.layer_norm_epsilon},
      {"pad_token_id", c.pad_token_id},
      {"decoder_start_token_id", c.decoder_start_token_id},
      {"tie_word_embeddings", c.scale_decoder_outputs},
  };
  if (c.bos_token_id >= 0) object["bos_token_id"] = c.bos_token_id;
  if (c.exact_gelu) object["dense_act_fn"] = "gelu";
  object["eos_token_id"] =
      c.eos_token_id.size() == 1 ? json(c.eos_token_id[0]) : json(c.eos_token_id);
  return object;
}

}  // namespace blip2

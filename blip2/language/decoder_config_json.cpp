#include "blip2/language/decoder_families_internal.h"
#include "blip2/language/rope_json_internal.h"

namespace blip2 {
namespace {

using nlohmann::json;

// What layers have of their own.
void add_layers(const DecoderConfig& c, const DecoderFamilyRow& row, json& object) {
  if (row.window != WindowKeys::none) {
    object["sliding_window"] = c.sliding_window > 0 ? json(c.sliding_window) : json();
  }
  if (row.window == WindowKeys::switched) object["use_sliding_window"] = c.sliding_window > 0;
  for (std::int64_t i = 0; i < c.num_hidden_layers; ++i) {
    if (row.layers.types_key) {
      object["layer_types"].push_back(c.window_of(i) > 0 ? "sliding_attention" : "full_attention");
    }
    if (row.layers.unrotated) object["no_rope_layers"].push_back(c.rotates(i) ? 1 : 0);
  }
}

json gated_json(const DecoderConfig& c, const DecoderFamilyRow& row) {
  json object = {
      {row.activation_key, gate_name(c.activation)},
      {"hidden_size", c.hidden_size},
      {"intermediate_size", c.intermediate_size},
      {"num_hidden_layers", c.num_hidden_layers},
      {"num_attention_heads", c.num_attention_heads},
      {"num_key_value_heads", c.num_key_value_heads},
      {"head_dim", c.head_dim},
      {"max_position_embeddings", c.max_position_embeddings},
      {"rms_norm_eps", c.norm_eps},
  };
  if (row.attention_bias_key) object["attention_bias"] = c.qkv_bias;
  if (row.mlp_bias_key) object["mlp_bias"] = c.mlp_bias;
  if (c.query_pre_attn_scalar > 0) object["query_pre_attn_scalar"] = c.query_pre_attn_scalar;
  add_layers(c, row, object);
  add_ropes(c, row, object);
  return object;
}

json opt_json(const DecoderConfig& c) {
  return {
      {"activation_function", "relu"},
      {"do_layer_norm_before", true},
      {"enable_bias", c.qkv_bias},
      {"ffn_dim", c.intermediate_size},
      {"hidden_size", c.hidden_size},
      {"layer_norm_elementwise_affine", true},
      {"max_position_embeddings", c.max_position_embeddings},
      {"num_attention_heads", c.num_attention_heads},
      {"num_hidden_layers", c.num_hidden_layers},
      {"word_embed_proj_dim", c.hidden_size},
  };
}

json gpt2_json(const DecoderConfig& c) {
  return {
      {"activation_function", "gelu_new"},
      {"layer_norm_epsilon", c.norm_eps},
      {"n_embd", c.hidden_size},
      {"n_head", c.num_attention_heads},
      {"n_inner", c.intermediate_size},
      {"n_layer", c.num_hidden_layers},
      {"n_positions", c.max_position_embeddings},
  };
}

}  // namespace

json decoder_config_to_json(const DecoderConfig& c) {
  const DecoderFamilyRow& row = row_of(c.family);
  json object = row.keys == ConfigKeys::opt    ? opt_json(c)
                : row.keys == ConfigKeys::gpt2 ? gpt2_json(c)
                                               : gated_json(c, row);
  object["model_type"] = row.name;
  object["vocab_size"] = c.vocab_size;
  object["tie_word_embeddings"] = c.tie_word_embeddings;
  object["bos_token_id"] = c.bos_token_id >= 0 ? json(c.bos_token_id) : json();
  object["eos_token_id"] =
      c.eos_token_id.size() == 1 ? json(c.eos_token_id[0]) : json(c.eos_token_id);
  object["pad_token_id"] = c.pad_token_id >= 0 ? json(c.pad_token_id) : json();
  return object;
}

}  // namespace blip2

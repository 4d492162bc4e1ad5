#include "blip2/language/decoder_families_internal.h"

namespace blip2 {
namespace {

using nlohmann::json;

json rope_json(const DecoderConfig& c) {
  json rope = {{"rope_type", "default"}, {"rope_theta", c.rope_theta}};
  if (!c.rope_scaling) return rope;
  rope["rope_type"] = "llama3";
  rope["factor"] = c.rope_scaling->factor;
  rope["low_freq_factor"] = c.rope_scaling->low_freq_factor;
  rope["high_freq_factor"] = c.rope_scaling->high_freq_factor;
  rope["original_max_position_embeddings"] =
      static_cast<std::int64_t>(c.rope_scaling->original_max_position_embeddings);
  return rope;
}

json gated_json(const DecoderConfig& c, const DecoderFamilyRow& row) {
  json object = {
      {"hidden_act", "silu"},
      {"hidden_size", c.hidden_size},
      {"intermediate_size", c.intermediate_size},
      {"num_hidden_layers", c.num_hidden_layers},
      {"num_attention_heads", c.num_attention_heads},
      {"num_key_value_heads", c.num_key_value_heads},
      {"head_dim", c.head_dim},
      {"max_position_embeddings", c.max_position_embeddings},
      {"rms_norm_eps", c.norm_eps},
      {"rope_theta", c.rope_theta},
      {"rope_parameters", rope_json(c)},
  };
  if (row.attention_bias_key) object["attention_bias"] = c.qkv_bias;
  if (row.mlp_bias_key) object["mlp_bias"] = c.mlp_bias;
  if (row.window != WindowKeys::none) {
    object["sliding_window"] = c.sliding_window > 0 ? json(c.sliding_window) : json();
  }
  if (row.window == WindowKeys::switched) object["use_sliding_window"] = c.sliding_window > 0;
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
  object["bos_token_id"] = c.bos_token_id;
  object["eos_token_id"] =
      c.eos_token_id.size() == 1 ? json(c.eos_token_id[0]) : json(c.eos_token_id);
  object["pad_token_id"] = c.pad_token_id >= 0 ? json(c.pad_token_id) : json();
  return object;
}

}  // namespace blip2

#include "blip2/language/decoder_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "blip2/base/error.h"
#include "blip2/language/config_keys_internal.h"
#include "blip2/language/decoder_families_internal.h"
#include "blip2/language/rope_json_internal.h"

namespace blip2 {
namespace {

using nlohmann::json;

constexpr std::int64_t largest_size = 1 << 24;  // keeps every product of two sizes within 63 bits

const DecoderFamilyRow& read_family(const ConfigTable& keys) {
  std::string type = "llama";
  keys.read("model_type", type);
  for (const DecoderFamilyRow& row : decoder_families()) {
    if (row.name == type) return row;
  }
  throw Error(fmt::format("model_type '{}' is not a decoder-only model known here", type),
              keys.where(), fmt::format("known: {}", fmt::join(decoder_family_names(), ", ")));
}

void read_window(const ConfigTable& keys, const DecoderFamilyRow& row, DecoderConfig& c) {
  bool used = row.window == WindowKeys::given;
  if (row.window == WindowKeys::switched) keys.read("use_sliding_window", used);
  const bool null = keys.object().contains("sliding_window") && !keys.has("sliding_window");
  std::int64_t window = c.sliding_window;
  if (keys.has("sliding_window")) keys.read_positive("sliding_window", window);
  c.sliding_window = used && !null ? window : 0;
}

// no_rope_layers has a 1 for each layer that rotates.
void read_unrotated(const ConfigTable& keys, DecoderConfig& c) {
  std::int64_t interval = kUnrotatedInterval;
  keys.read_positive("no_rope_layer_interval", interval);
  c.unrotated_layers = every_layer(interval, c.num_hidden_layers);
  if (!keys.has("no_rope_layers")) return;
  std::vector<std::int64_t> rotate;
  keys.read_list("no_rope_layers", rotate);
  need(std::ssize(rotate) >= c.num_hidden_layers,
       fmt::format("no_rope_layers: expected {} entries, one a layer, got {}", c.num_hidden_layers,
                   rotate.size()),
       keys.where());
  for (std::size_t i = 0; i < c.unrotated_layers.size(); ++i) {
    c.unrotated_layers[i] = rotate[i] == 0;
  }
}

bool is_sliding(const std::string& type, std::size_t layer, const std::string& where) {
  need(type == "sliding_attention" || type == "full_attention",
       fmt::format("layer_types[{}]: expected sliding_attention or full_attention, got '{}'", layer,
                   type),
       where);
  return type == "sliding_attention";
}

// What layer_types lists, which has an entry for each layer also where a family does not read it;
// empty if it is not there.
std::vector<std::string> read_types(const ConfigTable& keys, const DecoderConfig& c) {
  std::vector<std::string> types;
  if (!keys.has("layer_types")) return types;
  keys.read_list("layer_types", types);
  need(std::ssize(types) == c.num_hidden_layers,
       fmt::format("layer_types: expected {} entries, one a layer, got {}", c.num_hidden_layers,
                   types.size()),
       keys.where());
  return types;
}

void read_layers(const ConfigTable& keys, const DecoderFamilyRow& row, DecoderConfig& c) {
  if (row.window != WindowKeys::none) read_window(keys, row, c);
  LayerRule rule = row.layers;
  if (rule.unrotated) read_unrotated(keys, c);
  if (rule.first_sliding > 0) keys.read("max_window_layers", rule.first_sliding);
  if (rule.full_period > 0) {
    keys.read_positive("sliding_window_pattern", rule.full_period);
  }
  c.sliding_layers = usual_sliding_layers(rule, c);
  const std::vector<std::string> types = read_types(keys, c);
  for (std::size_t i = 0; rule.types_key && i < types.size(); ++i) {
    c.sliding_layers[i] = is_sliding(types[i], i, keys.where());
    need(!c.sliding_layers[i] || c.sliding_window > 0,
         fmt::format("layer_types[{}] slides, but sliding_window is not given", i), keys.where());
  }
}

void read_biases(const ConfigTable& keys, const DecoderFamilyRow& row, DecoderConfig& config) {
  if (row.attention_bias_key) {
    keys.read("attention_bias", config.qkv_bias);
    config.output_bias = config.qkv_bias;
  }
  if (row.mlp_bias_key) keys.read("mlp_bias", config.mlp_bias);
}

// Missing sizes follow from the number of heads, unless the family has a default.
void read_heads(const ConfigTable& keys, DecoderConfig& c) {
  keys.read("num_attention_heads", c.num_attention_heads);
  if (c.num_key_value_heads == 0 || keys.object().contains("num_key_value_heads")) {
    c.num_key_value_heads = c.num_attention_heads;
  }
  keys.read("num_key_value_heads", c.num_key_value_heads);
  if (c.head_dim == 0 && c.num_attention_heads > 0) {
    c.head_dim = c.hidden_size / c.num_attention_heads;
  }
  keys.read("head_dim", c.head_dim);
}

void read_eps(const ConfigTable& keys, const char* key, DecoderConfig& c) {
  keys.read(key, c.norm_eps);
  need(c.norm_eps >= 0, fmt::format("{}: expected 0 or more, got {}", key, c.norm_eps),
       keys.where());
}

void read_gated(const ConfigTable& keys, const DecoderFamilyRow& row, DecoderConfig& c) {
  keys.expect(row.activation_key, std::string(gate_name(c.activation)));
  keys.read("hidden_size", c.hidden_size);
  keys.read("intermediate_size", c.intermediate_size);
  keys.read("num_hidden_layers", c.num_hidden_layers);
  read_heads(keys, c);
  keys.read("max_position_embeddings", c.max_position_embeddings);
  read_eps(keys, "rms_norm_eps", c);
  read_biases(keys, row, c);
  keys.expect_none({"attn_logit_softcapping", "final_logit_softcapping"});
  keys.expect("use_bidirectional_attention", false);
  if (c.query_pre_attn_scalar > 0) {
    keys.read_positive("query_pre_attn_scalar", c.query_pre_attn_scalar);
  }
}

void read_opt(const ConfigTable& keys, DecoderConfig& c) {
  keys.expect("activation_function", std::string("relu"));
  keys.expect("layer_norm_elementwise_affine", true);
  keys.expect("_remove_final_layer_norm", false);
  bool before = true;
  keys.read("do_layer_norm_before", before);
  need(before,
       "do_layer_norm_before: expected true; norms after the layers (OPT-350m) are not "
       "supported",
       keys.where());
  keys.read("hidden_size", c.hidden_size);
  keys.read("ffn_dim", c.intermediate_size);
  keys.read("num_hidden_layers", c.num_hidden_layers);
  keys.read("num_attention_heads", c.num_attention_heads);
  keys.read("max_position_embeddings", c.max_position_embeddings);
  keys.expect("word_embed_proj_dim", c.hidden_size);
  bool bias = true;
  keys.read("enable_bias", bias);
  c.qkv_bias = c.output_bias = c.mlp_bias = bias;
}

void read_gpt2(const ConfigTable& keys, DecoderConfig& c) {
  std::string activation = "gelu_new";
  keys.read("activation_function", activation);
  need(activation == "gelu_new" || activation == "gelu_pytorch_tanh",
       fmt::format("activation_function: expected 'gelu_new', got '{}'", activation), keys.where());
  keys.expect("scale_attn_weights", true);
  keys.expect("scale_attn_by_inverse_layer_idx", false);
  keys.expect("add_cross_attention", false);
  for (const char* key : {"hidden_size", "n_embd"}) keys.read(key, c.hidden_size);
  for (const char* key : {"num_hidden_layers", "n_layer"}) keys.read(key, c.num_hidden_layers);
  for (const char* key : {"num_attention_heads", "n_head"}) keys.read(key, c.num_attention_heads);
  for (const char* key : {"max_position_embeddings", "n_positions"}) {
    keys.read(key, c.max_position_embeddings);
  }
  c.intermediate_size = 4 * c.hidden_size;
  keys.read("n_inner", c.intermediate_size);
  read_eps(keys, "layer_norm_epsilon", c);
}

// OPT's and GPT-2's heads share the width out among themselves.
void share_out_heads(DecoderConfig& c, const std::string& where) {
  c.num_key_value_heads = c.num_attention_heads;
  need(c.num_attention_heads > 0 && c.hidden_size % c.num_attention_heads == 0,
       fmt::format("expected hidden_size to be a multiple of num_attention_heads, got {} and {}",
                   c.hidden_size, c.num_attention_heads),
       where);
  c.head_dim = c.hidden_size / c.num_attention_heads;
}

}  // namespace

void check_sizes(const DecoderConfig& c, const std::string& where) {
  const std::pair<const char*, std::int64_t> sizes[] = {
      {"hidden_size", c.hidden_size},
      {"intermediate_size", c.intermediate_size},
      {"num_hidden_layers", c.num_hidden_layers},
      {"num_attention_heads", c.num_attention_heads},
      {"num_key_value_heads", c.num_key_value_heads},
      {"head_dim", c.head_dim},
      {"vocab_size", c.vocab_size},
      {"max_position_embeddings", c.max_position_embeddings},
  };
  for (const auto& [name, size] : sizes) {
    need(size > 0 && size <= largest_size,
         fmt::format("{}: expected 1 to {}, got {}", name, largest_size, size), where);
  }
}

void validate(const DecoderConfig& c, const std::string& where) {
  check_sizes(c, where);
  need(c.num_attention_heads % c.num_key_value_heads == 0,
       fmt::format("expected num_attention_heads to be a multiple of num_key_value_heads, got {} "
                   "and {}",
                   c.num_attention_heads, c.num_key_value_heads),
       where);
  need(c.learned_positions || c.head_dim % 2 == 0,
       fmt::format("expected an even head_dim, got {}", c.head_dim), where);
  need(
      c.learned_positions || (c.rotated() > 0 && c.rotated() <= c.head_dim && c.rotated() % 2 == 0),
      fmt::format("expected an even number of a head's {} numbers to rotate, got {}", c.head_dim,
                  c.rotated()),
      where);
  for (const std::int32_t id : c.eos_token_id) {
    need(id >= 0 && id < c.vocab_size, fmt::format("eos_token_id {} is not in the vocabulary", id),
         where);
  }
}

void require_length(const DecoderConfig& c, std::int64_t tokens) {
  if (c.learned_positions && tokens > c.max_position_embeddings) {
    throw Error(fmt::format("a sequence has {} tokens, the model has {} learned positions", tokens,
                            c.max_position_embeddings),
                "language model", "shorten the text or generate fewer tokens");
  }
}

std::int64_t DecoderConfig::window_of(std::int64_t layer) const {
  const bool slides = !sliding_layers.empty() && sliding_layers[static_cast<std::size_t>(layer)];
  return slides ? sliding_window : 0;
}

bool DecoderConfig::rotates(std::int64_t layer) const {
  return unrotated_layers.empty() || !unrotated_layers[static_cast<std::size_t>(layer)];
}

float DecoderConfig::attention_scale() const {
  const std::int64_t scalar = query_pre_attn_scalar > 0 ? query_pre_attn_scalar : head_dim;
  return 1.0f / std::sqrt(static_cast<float>(scalar));
}

DecoderConfig decoder_config_from_json(const json& object, const std::string& where) {
  need(object.is_object(), "expected a table of keys", where);
  const ConfigTable keys(object, where);
  const DecoderFamilyRow& row = read_family(keys);
  DecoderConfig c = row.defaults;
  const bool gated = row.keys == ConfigKeys::gated;
  if (gated) {
    read_gated(keys, row, c);
  } else {
    row.keys == ConfigKeys::opt ? read_opt(keys, c) : read_gpt2(keys, c);
    share_out_heads(c, where);
  }
  keys.read("vocab_size", c.vocab_size);
  keys.read("tie_word_embeddings", c.tie_word_embeddings);
  keys.read("bos_token_id", c.bos_token_id);
  keys.read("pad_token_id", c.pad_token_id);
  keys.read("eos_token_id", c.eos_token_id);
  check_sizes(c, where);
  if (gated) {
    read_layers(keys, row, c);
    read_ropes(keys, row, c);
  } else {
    read_types(keys, c);
  }
  validate(c, where);
  return c;
}

}  // namespace blip2

#include "blip2/language/decoder_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/io/members.h"
#include "blip2/language/decoder_families_internal.h"

namespace blip2 {
namespace {

using nlohmann::json;

constexpr std::int64_t largest_size = 1 << 24;  // keeps every product of two sizes within 63 bits

// The keys of one table; null stands for a key that is not there.
class Keys {
 public:
  Keys(const json& object, const std::string& where) : object_(object), where_(where) {}

  template <typename T>
  void read(const char* key, T& value) const {
    read_member(value, object_, key, where_);
  }
  // A setting that has one supported value, which is also what a missing key means.
  template <typename T>
  void expect(const char* key, const T& supported) const {
    T value = supported;
    read(key, value);
    need(value == supported,
         fmt::format("{}: expected {}, got {}", key, json(supported).dump(), json(value).dump()),
         where_);
  }
  const json* table(const char* key) const {
    const auto found = object_.find(key);
    return found != object_.end() && found->is_object() ? &*found : nullptr;
  }
  const std::string& where() const { return where_; }

 private:
  const json& object_;
  const std::string& where_;
};

const DecoderFamilyRow& read_family(const Keys& keys) {
  std::string type = "llama";
  keys.read("model_type", type);
  for (const DecoderFamilyRow& row : decoder_families()) {
    if (row.name == type) return row;
  }
  throw Error(fmt::format("model_type '{}' is not a decoder-only model known here", type),
              keys.where(), fmt::format("known: {}", fmt::join(decoder_family_names(), ", ")));
}

void read_llama3(const json& table, DecoderConfig& config, const std::string& where) {
  const Keys keys(table, where);
  Llama3Rope& rope = config.rope_scaling.emplace();
  keys.read("factor", rope.factor);
  keys.read("low_freq_factor", rope.low_freq_factor);
  keys.read("high_freq_factor", rope.high_freq_factor);
  keys.read("original_max_position_embeddings", rope.original_max_position_embeddings);
  need(rope.factor >= 1 && rope.low_freq_factor > 0 &&
           rope.high_freq_factor > rope.low_freq_factor &&
           rope.original_max_position_embeddings > 0,
       "rope_scaling: expected factor >= 1 and 0 < low_freq_factor < high_freq_factor", where);
}

// rope_theta lies in rope_parameters since transformers 5, beside the sizes before.
void read_rope(const Keys& keys, DecoderConfig& config) {
  keys.read("rope_theta", config.rope_theta);
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const json* table = keys.table(key);
    if (!table) continue;
    const Keys inner(*table, keys.where());
    inner.read("rope_theta", config.rope_theta);
    std::string type = "default";
    inner.read("type", type);
    inner.read("rope_type", type);
    need(type == "default" || type == "llama3",
         fmt::format("rope type '{}' is not supported, only 'default' and 'llama3'", type),
         keys.where());
    if (type == "llama3") read_llama3(*table, config, keys.where());
  }
}

void read_window(const json& object, const Keys& keys, const DecoderFamilyRow& row,
                 DecoderConfig& config) {
  const bool null = object.contains("sliding_window") && object["sliding_window"].is_null();
  if (row.window == WindowKeys::none || null) return;
  std::int64_t window = 4096;
  bool used = row.window == WindowKeys::given;
  keys.read("sliding_window", window);
  keys.read("use_sliding_window", used);
  need(window > 0, fmt::format("sliding_window: expected a positive number, got {}", window),
       keys.where());
  config.sliding_window = used ? window : 0;
}

void read_biases(const Keys& keys, const DecoderFamilyRow& row, DecoderConfig& config) {
  if (row.attention_bias_key) {
    keys.read("attention_bias", config.qkv_bias);
    config.output_bias = config.qkv_bias;
  }
  if (row.mlp_bias_key) keys.read("mlp_bias", config.mlp_bias);
}

// Missing sizes follow from the number of heads, unless the family has a default.
void read_heads(const json& object, const Keys& keys, DecoderConfig& c) {
  keys.read("num_attention_heads", c.num_attention_heads);
  if (c.num_key_value_heads == 0 || object.contains("num_key_value_heads")) {
    c.num_key_value_heads = c.num_attention_heads;
  }
  keys.read("num_key_value_heads", c.num_key_value_heads);
  if (c.head_dim == 0 && c.num_attention_heads > 0) {
    c.head_dim = c.hidden_size / c.num_attention_heads;
  }
  keys.read("head_dim", c.head_dim);
}

void read_gated(const json& object, const Keys& keys, const DecoderFamilyRow& row,
                DecoderConfig& c) {
  keys.expect("hidden_act", std::string("silu"));
  keys.read("hidden_size", c.hidden_size);
  keys.read("intermediate_size", c.intermediate_size);
  keys.read("num_hidden_layers", c.num_hidden_layers);
  read_heads(object, keys, c);
  keys.read("max_position_embeddings", c.max_position_embeddings);
  keys.read("rms_norm_eps", c.norm_eps);
  read_rope(keys, c);
  read_window(object, keys, row, c);
  read_biases(keys, row, c);
}

void read_opt(const Keys& keys, DecoderConfig& c) {
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

void read_gpt2(const Keys& keys, DecoderConfig& c) {
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
  keys.read("layer_norm_epsilon", c.norm_eps);
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

}  // namespace

void validate(const DecoderConfig& c, const std::string& where) {
  check_sizes(c, where);
  need(c.num_attention_heads % c.num_key_value_heads == 0,
       fmt::format("expected num_attention_heads to be a multiple of num_key_value_heads, got {} "
                   "and {}",
                   c.num_attention_heads, c.num_key_value_heads),
       where);
  need(c.learned_positions || c.head_dim % 2 == 0,
       fmt::format("expected an even head_dim, got {}", c.head_dim), where);
  need(c.norm_eps >= 0 && c.rope_theta > 0, "expected a norm's eps >= 0 and rope_theta > 0", where);
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
  if (c.sliding_window > 0 && tokens > c.sliding_window) {
    throw Error(fmt::format("a sequence has {} tokens, more than the sliding window of {}, beyond "
                            "which this program does not go",
                            tokens, c.sliding_window),
                "language model", "shorten the text or generate fewer tokens");
  }
}

DecoderConfig decoder_config_from_json(const json& object, const std::string& where) {
  need(object.is_object(), "expected a table of keys", where);
  const Keys keys(object, where);
  const DecoderFamilyRow& row = read_family(keys);
  DecoderConfig c = row.defaults;
  if (row.keys == ConfigKeys::gated) {
    read_gated(object, keys, row, c);
  } else {
    row.keys == ConfigKeys::opt ? read_opt(keys, c) : read_gpt2(keys, c);
    share_out_heads(c, where);
  }
  keys.read("vocab_size", c.vocab_size);
  keys.read("tie_word_embeddings", c.tie_word_embeddings);
  keys.read("bos_token_id", c.bos_token_id);
  keys.read("pad_token_id", c.pad_token_id);
  keys.read("eos_token_id", c.eos_token_id);
  validate(c, where);
  return c;
}

}  // namespace blip2

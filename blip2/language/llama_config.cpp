#include "blip2/language/llama_config.h"

#include <fmt/format.h>

#include "blip2/base/error.h"
#include "blip2/io/fields.h"

namespace blip2 {
namespace {

using nlohmann::json;

constexpr std::int64_t largest_size = 1 << 24;  // keeps every product of two sizes within 63 bits

template <typename T>
void read_key(const json& object, const char* key, T& value, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return;
  read_value(value, *found, fmt::format("{}: {}", where, key));
}

void need(bool condition, const std::string& message, const std::string& where) {
  if (!condition) throw Error(message, where);
}

void validate(const LlamaConfig& c, const std::string& where) {
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
  need(c.num_attention_heads % c.num_key_value_heads == 0,
       fmt::format("expected num_attention_heads to be a multiple of num_key_value_heads, got {} "
                   "and {}",
                   c.num_attention_heads, c.num_key_value_heads),
       where);
  need(c.head_dim % 2 == 0, fmt::format("expected an even head_dim, got {}", c.head_dim), where);
  need(c.rms_norm_eps >= 0 && c.rope_theta > 0, "expected rms_norm_eps >= 0 and rope_theta > 0",
       where);
  for (const std::int32_t id : c.eos_token_id) {
    need(id >= 0 && id < c.vocab_size, fmt::format("eos_token_id {} is not in the vocabulary", id),
         where);
  }
}

// rope_theta lies in rope_parameters since transformers 5, beside the sizes before.
void read_rope(const json& object, LlamaConfig& config, const std::string& where) {
  read_key(object, "rope_theta", config.rope_theta, where);
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_object()) continue;
    read_key(*found, "rope_theta", config.rope_theta, where);
    std::string type = "default";
    read_key(*found, "type", type, where);
    read_key(*found, "rope_type", type, where);
    need(type == "default", fmt::format("rope type '{}' is not supported, only 'default'", type),
         where);
  }
}

void refuse_unsupported(const json& object, const std::string& where) {
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    bool bias = false;
    read_key(object, key, bias, where);
    need(!bias, fmt::format("{}: expected false, got true", key), where);
  }
  std::string activation = "silu", type = "llama";
  read_key(object, "hidden_act", activation, where);
  need(activation == "silu", fmt::format("hidden_act: expected 'silu', got '{}'", activation),
       where);
  read_key(object, "model_type", type, where);
  need(type == "llama", fmt::format("model_type: expected 'llama', got '{}'", type), where);
}

}  // namespace

LlamaConfig llama_config_from_json(const json& object, const std::string& where) {
  need(object.is_object(), "expected a table of keys", where);
  refuse_unsupported(object, where);
  LlamaConfig c;
  read_key(object, "hidden_size", c.hidden_size, where);
  read_key(object, "intermediate_size", c.intermediate_size, where);
  read_key(object, "num_hidden_layers", c.num_hidden_layers, where);
  read_key(object, "num_attention_heads", c.num_attention_heads, where);
  c.num_key_value_heads = c.num_attention_heads;
  read_key(object, "num_key_value_heads", c.num_key_value_heads, where);
  c.head_dim = c.num_attention_heads > 0 ? c.hidden_size / c.num_attention_heads : 0;
  read_key(object, "head_dim", c.head_dim, where);
  read_key(object, "vocab_size", c.vocab_size, where);
  read_key(object, "max_position_embeddings", c.max_position_embeddings, where);
  read_key(object, "rms_norm_eps", c.rms_norm_eps, where);
  read_key(object, "tie_word_embeddings", c.tie_word_embeddings, where);
  read_key(object, "bos_token_id", c.bos_token_id, where);
  read_key(object, "pad_token_id", c.pad_token_id, where);
  read_key(object, "eos_token_id", c.eos_token_id, where);
  read_rope(object, c, where);
  validate(c, where);
  return c;
}

LlamaConfig llama_config_from_gguf(const GgufFile& file) {
  const std::string where = file.path().string();
  const std::string architecture = file.string("general.architecture").value_or("(none)");
  need(architecture == "llama",
       fmt::format("general.architecture: expected 'llama', got '{}'", architecture), where);
  const auto size = [&](const char* key, std::uint64_t fallback = 0) {
    const std::uint64_t value = file.integer(std::string("llama.") + key).value_or(fallback);
    return static_cast<std::int64_t>(std::min<std::uint64_t>(value, 1ull << 62));
  };
  const auto token = [&](const char* key, std::uint64_t fallback) {
    const auto id = file.integer(std::string("tokenizer.ggml.") + key).value_or(fallback);
    return static_cast<std::int32_t>(std::min<std::uint64_t>(id, INT32_MAX));
  };
  LlamaConfig c;
  c.hidden_size = size("embedding_length");
  c.intermediate_size = size("feed_forward_length");
  c.num_hidden_layers = size("block_count");
  c.num_attention_heads = size("attention.head_count");
  c.num_key_value_heads = size("attention.head_count_kv", c.num_attention_heads);
  const std::int64_t heads = std::max<std::int64_t>(c.num_attention_heads, 1);
  c.head_dim = size("rope.dimension_count", c.hidden_size / heads);
  c.max_position_embeddings = size("context_length", 2048);
  c.rms_norm_eps = static_cast<float>(
      file.number("llama.attention.layer_norm_rms_epsilon").value_or(c.rms_norm_eps));
  c.rope_theta = file.number("llama.rope.freq_base").value_or(c.rope_theta);
  const TensorView& embeddings = file.get("token_embd.weight");
  c.vocab_size = embeddings.shape.empty() ? 0 : embeddings.shape[0];
  c.tie_word_embeddings = file.find("output.weight") == nullptr;
  c.bos_token_id = token("bos_token_id", 1);
  c.eos_token_id = {token("eos_token_id", 2)};
  c.pad_token_id = token("padding_token_id", c.eos_token_id[0]);
  need(!file.string("llama.rope.scaling.type") || *file.string("llama.rope.scaling.type") == "none",
       "scaled rope is not supported", where);
  validate(c, where);
  return c;
}

json llama_config_to_json(const LlamaConfig& c) {
  json object = {
      {"model_type", "llama"},
      {"hidden_act", "silu"},
      {"hidden_size", c.hidden_size},
      {"intermediate_size", c.intermediate_size},
      {"num_hidden_layers", c.num_hidden_layers},
      {"num_attention_heads", c.num_attention_heads},
      {"num_key_value_heads", c.num_key_value_heads},
      {"head_dim", c.head_dim},
      {"vocab_size", c.vocab_size},
      {"max_position_embeddings", c.max_position_embeddings},
      {"rms_norm_eps", c.rms_norm_eps},
      {"rope_theta", c.rope_theta},
      {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", c.rope_theta}}},
      {"tie_word_embeddings", c.tie_word_embeddings},
      {"bos_token_id", c.bos_token_id},
  };
  object["eos_token_id"] =
      c.eos_token_id.size() == 1 ? json(c.eos_token_id[0]) : json(c.eos_token_id);
  object["pad_token_id"] = c.pad_token_id >= 0 ? json(c.pad_token_id) : json();
  return object;
}

}  // namespace blip2

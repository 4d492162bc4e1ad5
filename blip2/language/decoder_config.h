#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/io/gguf.h"
#include "blip2/language/rope.h"

namespace blip2 {

// The decoder-only architectures, by Hugging Face's model_type (rows of
// decoder_families_internal.h). Only code that reads and writes files depends on the family; the
// computation depends on the fields below.
enum class DecoderFamily {
  llama,
  mistral,
  qwen2,
  opt,
  gpt2,
  qwen3,
  smollm3,
  gemma3_text,
  phi3,
  olmo2,
  ministral3
};
std::string_view family_name(DecoderFamily family);
std::vector<std::string> decoder_family_names();

// What a feed-forward computes from its first product.
enum class Activation {
  gated_silu,       // silu(gate) * up; the product holds gate and up
  gated_gelu_tanh,  // gelu(gate) * up, by GELU's tanh approximation
  relu,
  gelu_tanh,
};

// Queries at position p are multiplied by 1 + beta log(1 + floor(p / length)).
struct QueryScale {
  double beta = 0.0;  // 0: they are not
  std::int64_t length = 0;
};

// A decoder-only language model: its sizes under Hugging Face's names, and what its layers have.
struct DecoderConfig {
  DecoderFamily family = DecoderFamily::llama;
  std::int64_t hidden_size = 0, intermediate_size = 0;
  std::int64_t num_hidden_layers = 0, num_attention_heads = 0, num_key_value_heads = 0;
  std::int64_t head_dim = 0, vocab_size = 0, max_position_embeddings = 2048;
  float norm_eps = 1e-6f;
  Rope rope;
  std::optional<Rope> local_rope;  // of the sliding layers, if they rotate by other angles
  std::int64_t rotary_dim = 0;     // how many numbers of a head rotate, the first ones; 0: all
  QueryScale query_scale;
  // Products of queries and keys are divided by the root of it; 0: by that of head_dim.
  std::int64_t query_pre_attn_scalar = 0;
  std::int64_t sliding_window = 0;  // the last tokens that attention of a sliding layer sees
  // For each layer: whether its attention slides, and whether it does without rotation. Empty: none
  // does.
  std::vector<bool> sliding_layers, unrotated_layers;
  // Biases of the q, k, v products, of attention's output, and of the feed-forward.
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  bool tie_word_embeddings = false;
  std::int32_t bos_token_id = 1, pad_token_id = -1;  // pad_token_id: -1 if the model has none
  std::vector<std::int32_t> eos_token_id = {2};

  bool scaled_embeddings = false;  // by the root of hidden_size, rounded to the weights' type
  bool layer_norm = false;         // LayerNorm, which has biases; otherwise RMSNorm
  bool one_plus_norm = false;      // norms multiply by 1 + weight
  // Norms before attention and the feed-forward, and behind them, before the residual is added.
  bool norm_before = true, norm_after = false;
  // A norm over each head's queries and keys, before they rotate, or one over those of all heads.
  bool query_key_norm = false, whole_query_key_norm = false;
  bool learned_positions = false;  // added to the embeddings; otherwise queries and keys rotate
  // The row of the table of learned positions for the first token of a sequence.
  std::int64_t position_offset = 0;
  Activation activation = Activation::gated_silu;

  bool gated() const {
    return activation == Activation::gated_silu || activation == Activation::gated_gelu_tanh;
  }
  // How many tokens attention of the layer sees, the last ones; 0: all.
  std::int64_t window_of(std::int64_t layer) const;
  bool rotates(std::int64_t layer) const;
  std::int64_t rotated() const { return rotary_dim > 0 ? rotary_dim : head_dim; }
  bool norms_queries() const { return query_key_norm || whole_query_key_norm; }
  float attention_scale() const;
  // Outputs of the feed-forward's first product: gate and up, or up alone.
  std::int64_t up_width() const { return (gated() ? 2 : 1) * intermediate_size; }
  std::int64_t query_width() const { return num_attention_heads * head_dim; }
  std::int64_t key_width() const { return num_key_value_heads * head_dim; }
  std::int64_t qkv_width() const { return query_width() + 2 * key_width(); }
};

// Reads Hugging Face's config.json (or its text_config) by its model_type; missing keys have the
// defaults of transformers. Keys that change nothing here are ignored. Error for anything that this
// model does not have (another activation, norms after the layers as in OPT-350m, an unknown
// rope_type), for lists by layer of another length, for negative or mismatched sizes and for other
// architectures.
DecoderConfig decoder_config_from_json(const nlohmann::json& json, const std::string& where);

// Reads the metadata of a GGUF file, and the factors of its rotary frequencies, which are tensors.
// Error if its general.architecture is not a family that can be read from GGUF files.
DecoderConfig decoder_config_from_gguf(const GgufFile& file);

// The configuration as JSON that transformers reads for that model_type.
nlohmann::json decoder_config_to_json(const DecoderConfig& config);

// Error if sizes are not positive or contradict each other.
void validate(const DecoderConfig& config, const std::string& where);

// Throws Error unless a sequence of that many tokens is within the learned positions.
void require_length(const DecoderConfig& config, std::int64_t tokens);

}  // namespace blip2

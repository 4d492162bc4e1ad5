#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/io/gguf.h"

namespace blip2 {

// The decoder-only architectures, by Hugging Face's model_type (rows of
// decoder_families_internal.h). Only code that reads and writes files depends on the family; the
// computation depends on the fields below.
enum class DecoderFamily { llama, mistral, qwen2, opt, gpt2, qwen3 };
std::string_view family_name(DecoderFamily family);
std::vector<std::string> decoder_family_names();

// How Llama 3.1 stretches the rotary frequencies (rope_type "llama3").
struct Llama3Rope {
  double factor = 8.0, low_freq_factor = 1.0, high_freq_factor = 4.0;
  double original_max_position_embeddings = 8192.0;
};

// What a feed-forward computes from its first product.
enum class Activation {
  gated_silu,  // silu(gate) * up; the product holds gate and up
  relu,
  gelu_tanh,
};

// A decoder-only language model: its sizes under Hugging Face's names, and what its layers have.
struct DecoderConfig {
  DecoderFamily family = DecoderFamily::llama;
  std::int64_t hidden_size = 0, intermediate_size = 0;
  std::int64_t num_hidden_layers = 0, num_attention_heads = 0, num_key_value_heads = 0;
  std::int64_t head_dim = 0, vocab_size = 0, max_position_embeddings = 2048;
  float norm_eps = 1e-6f;
  double rope_theta = 10000.0;
  std::optional<Llama3Rope> rope_scaling;
  std::int64_t sliding_window = 0;  // number of tokens that attention reaches back; 0: all
  // Biases of the q, k, v products, of attention's output, and of the feed-forward.
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  bool tie_word_embeddings = false;
  std::int32_t bos_token_id = 1, pad_token_id = -1;  // pad_token_id: -1 if the model has none
  std::vector<std::int32_t> eos_token_id = {2};

  bool layer_norm = false;         // LayerNorm, which has biases; otherwise RMSNorm
  bool query_key_norm = false;     // a norm over each head's queries and keys, before they rotate
  bool learned_positions = false;  // added to the embeddings; otherwise queries and keys rotate
  // The row of the table of learned positions for the first token of a sequence.
  std::int64_t position_offset = 0;
  Activation activation = Activation::gated_silu;

  bool gated() const { return activation == Activation::gated_silu; }
  // Outputs of the feed-forward's first product: gate and up, or up alone.
  std::int64_t up_width() const { return (gated() ? 2 : 1) * intermediate_size; }
  std::int64_t query_width() const { return num_attention_heads * head_dim; }
  std::int64_t key_width() const { return num_key_value_heads * head_dim; }
  std::int64_t qkv_width() const { return query_width() + 2 * key_width(); }
};

// Reads Hugging Face's config.json (or its text_config) by its model_type; missing keys have the
// defaults of transformers. Keys that change nothing here are ignored. Error for anything that this
// model does not have (another activation, norms after the layers as in OPT-350m, scaled rope of
// another kind), for negative or mismatched sizes and for other architectures.
DecoderConfig decoder_config_from_json(const nlohmann::json& json, const std::string& where);

// Reads the metadata of a GGUF file. Error if its general.architecture is not a family that can be
// read from GGUF files.
DecoderConfig decoder_config_from_gguf(const GgufFile& file);

// The configuration as JSON that transformers reads for that model_type.
nlohmann::json decoder_config_to_json(const DecoderConfig& config);

// Error if sizes are not positive or contradict each other.
void validate(const DecoderConfig& config, const std::string& where);

// Throws Error unless a sequence of that many tokens is within the learned positions and the
// sliding window.
void require_length(const DecoderConfig& config, std::int64_t tokens);

}  // namespace blip2

#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "blip2/io/gguf.h"

namespace blip2 {

// A decoder-only language model of the Llama family, in Hugging Face's terms.
struct LlamaConfig {
  std::int64_t hidden_size = 0, intermediate_size = 0;
  std::int64_t num_hidden_layers = 0, num_attention_heads = 0, num_key_value_heads = 0;
  std::int64_t head_dim = 0, vocab_size = 0, max_position_embeddings = 2048;
  float rms_norm_eps = 1e-6f;
  double rope_theta = 10000.0;
  bool tie_word_embeddings = false;
  std::int32_t bos_token_id = 1, pad_token_id = -1;  // pad: -1 if it has none
  std::vector<std::int32_t> eos_token_id = {2};

  std::int64_t query_width() const { return num_attention_heads * head_dim; }
  std::int64_t key_width() const { return num_key_value_heads * head_dim; }
  std::int64_t qkv_width() const { return query_width() + 2 * key_width(); }
};

// From Hugging Face's config.json (or its text_config). Keys that change nothing here are passed
// over; what this model does not do (biases, scaled rope, another activation) is an Error, and so
// are missing, negative or mismatched sizes.
LlamaConfig llama_config_from_json(const nlohmann::json& json, const std::string& where);

// From a GGUF file of architecture "llama".
LlamaConfig llama_config_from_gguf(const GgufFile& file);

// As transformers' LlamaConfig reads it.
nlohmann::json llama_config_to_json(const LlamaConfig& config);

}  // namespace blip2

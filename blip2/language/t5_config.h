#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace blip2 {

// An encoder-decoder of the T5 family (Raffel et al. 2020), in Hugging Face's terms. The defaults
// of the last three fields are T5 v1.1's and FlanT5's.
struct T5Config {
  std::int64_t vocab_size = 32128, d_model = 0, d_kv = 0, d_ff = 0;
  std::int64_t num_layers = 0, num_decoder_layers = 0, num_heads = 0;
  std::int64_t relative_attention_num_buckets = 32, relative_attention_max_distance = 128;
  float layer_norm_epsilon = 1e-6f;
  std::int32_t pad_token_id = 0, decoder_start_token_id = 0;
  std::int32_t bos_token_id = -1;  // -1: none, as T5 has it; BLIP-2 directories name one
  std::vector<std::int32_t> eos_token_id = {1};
  bool gated_gelu = true;              // otherwise ReLU without a gate, the original T5
  bool exact_gelu = false;             // erf, as BLIP-2's FlanT5 was run; otherwise the tanh form
  bool scale_decoder_outputs = false;  // by d_model ^ -1/2 before the head, the original T5

  std::int64_t inner_width() const { return num_heads * d_kv; }
};

// Reads Hugging Face's config.json (or its text_config). Keys that change nothing here are ignored.
// Error for another activation and for missing, negative or mismatched sizes.
T5Config t5_config_from_json(const nlohmann::json& json, const std::string& where);

// The configuration as JSON that transformers' T5Config reads.
nlohmann::json t5_config_to_json(const T5Config& config);

}  // namespace blip2

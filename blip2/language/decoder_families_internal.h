#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/language/decoder_config.h"
#include "blip2/language/decoder_names_internal.h"

namespace blip2 {

// When attention of sliding layers sees the last `sliding_window` tokens only.
enum class WindowKeys {
  none,      // the configuration has no such key
  given,     // if the key is not null
  switched,  // if use_sliding_window says so too
};

// What layers have of their own if the configuration does not list it.
struct LayerRule {
  bool types_key = false;          // layer_types lists which layers slide
  std::int64_t first_sliding = 0;  // layers from here on slide (max_window_layers)
  std::int64_t full_period = 0;    // every so many-th does not (sliding_window_pattern); 0: all do
  // Every fourth layer does not rotate (no_rope_layers), and only such layers slide.
  bool unrotated = false;
};
inline constexpr std::int64_t kUnrotatedInterval = 4;
// Which of `layers` layers are an interval-th one.
std::vector<bool> every_layer(std::int64_t interval, std::int64_t layers);
// Which of the configuration's layers slide by the rule, if it has a window.
std::vector<bool> usual_sliding_layers(const LayerRule& rule, const DecoderConfig& config);

// The name of a gate's activation in transformers.
constexpr const char* gate_name(Activation activation) {
  return activation == Activation::gated_gelu_tanh ? "gelu_pytorch_tanh" : "silu";
}

// The naming of a configuration's keys, which also tells which optional keys it has.
enum class ConfigKeys { gated, opt, gpt2 };

// Everything that distinguishes one family. A family in this table can be read, written, trained
// through and used for generating texts.
struct DecoderFamilyRow {
  std::string_view name;  // Hugging Face's model_type
  std::string_view gguf;  // the architecture that a GGUF file of it has
  bool in_gguf;           // whether GGUF files of that architecture are read as this family
  // The values of an empty configuration, as in transformers, and what the layers have. Without
  // num_key_value_heads there are as many key/value heads as heads; without head_dim a head has
  // width / heads.
  DecoderConfig defaults;
  const DecoderNames* names;
  ConfigKeys keys = ConfigKeys::gated;
  // Optional keys: attention_bias, mlp_bias, partial_rotary_factor, llama_4_scaling_beta.
  bool attention_bias_key = false, mlp_bias_key = false, partial_rotary = false;
  bool query_scale = false;
  const char* activation_key = "hidden_act";
  WindowKeys window = WindowKeys::none;
  LayerRule layers = {};
  // The default of original_max_position_embeddings where that key stands beside the sizes, and so
  // before the one of rope_parameters; 0: it does not.
  std::int64_t original_positions = 0;
};

// Error if a size is not positive or larger than any model's: before lists of its length are made.
void check_sizes(const DecoderConfig& config, const std::string& where);

std::span<const DecoderFamilyRow> decoder_families();
const DecoderFamilyRow& row_of(DecoderFamily family);

}  // namespace blip2

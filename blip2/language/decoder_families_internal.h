#pragma once

#include <span>
#include <string_view>

#include "blip2/language/decoder_config.h"
#include "blip2/language/decoder_names_internal.h"

namespace blip2 {

// When attention reaches back `sliding_window` tokens only.
enum class WindowKeys {
  none,      // the configuration has no such key
  given,     // if the key is not null
  switched,  // if use_sliding_window says so too
};

// The naming of a configuration's keys, which also tells which optional keys it has.
enum class ConfigKeys { gated, opt, gpt2 };

// Everything that distinguishes one family. A family in this table can be read, written, trained
// through and used for generating texts.
struct DecoderFamilyRow {
  std::string_view name;  // Hugging Face's model_type, and GGUF's architecture if `in_gguf`
  bool in_gguf;
  // The values of an empty configuration, as in transformers, and what the layers have. Without
  // num_key_value_heads there are as many key/value heads as heads; without head_dim a head has
  // width / heads.
  DecoderConfig defaults;
  const DecoderNames* names;
  ConfigKeys keys = ConfigKeys::gated;
  bool attention_bias_key = false, mlp_bias_key = false;
  WindowKeys window = WindowKeys::none;
};

std::span<const DecoderFamilyRow> decoder_families();
const DecoderFamilyRow& row_of(DecoderFamily family);

}  // namespace blip2

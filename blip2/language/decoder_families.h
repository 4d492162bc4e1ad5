#pragma once

#include <span>
#include <string_view>

#include "blip2/language/decoder_config.h"
#include "blip2/language/decoder_names.h"

namespace blip2 {

// When attention looks back on `sliding_window` tokens only.
enum class WindowKeys {
  none,      // the configuration has no such key
  given,     // if the key is not null
  switched,  // if use_sliding_window says so too
};

// How the keys of a configuration are called, and which of those that only some families have are
// there.
enum class ConfigKeys { gated, opt, gpt2 };

// Everything that sets one family apart: files of a family in this table are read, written,
// trained with and written texts with.
struct DecoderFamilyRow {
  std::string_view name;  // Hugging Face's model_type, and GGUF's architecture if `in_gguf`
  bool in_gguf;
  // Of a configuration that says nothing, as in transformers, and what the layers have. Without
  // num_key_value_heads there are as many as heads, without head_dim the heads share the width.
  DecoderConfig defaults;
  const DecoderNames* names;
  ConfigKeys keys = ConfigKeys::gated;
  bool attention_bias_key = false, mlp_bias_key = false;
  WindowKeys window = WindowKeys::none;
};

std::span<const DecoderFamilyRow> decoder_families();
const DecoderFamilyRow& row_of(DecoderFamily family);

}  // namespace blip2

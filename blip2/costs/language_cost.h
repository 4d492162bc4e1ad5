#pragma once

#include <cstdint>
#include <vector>

#include "blip2/costs/part_size.h"
#include "blip2/language/frozen_language.h"
#include "blip2/language/lora.h"

namespace blip2 {

// The cost of a frozen language model, from its configuration alone.

// The number of all parameters of the model.
std::int64_t language_parameters(const LanguageConfig& config);

// Bytes of the model's weights in memory. In half precision the file of a decoder-only model stays
// mapped beside the joined matrices; for f32 the weights are assumed to be converted. `int8`: the
// matrices of a decoder-only model's layers are int8.
double language_weight_bytes(const LanguageConfig& config, double type_bytes, bool int8);

// The tokens that an objective gives the language model, as lengths of each row.
struct LanguageTexts {
  std::vector<std::int64_t> prompts;  // soft prompts and prompt together
  std::vector<std::int64_t> targets;  // the caption or answer, end token included
};

// The number of parameters of adapters beside the model; 0 without a rank.
std::int64_t lora_parameters(const LanguageConfig& config, const LoraConfig& lora);

// The cost of one forward and backward pass. Gradients go to the model's input and to adapters.
struct LanguageCost {
  Flops flops;
  double tokens = 0;  // tokens read, soft prompts included
  double pooled =
      0;  // bytes of activations whose memory a decoder-only model keeps for its next pass
  double kept = 0;     // other bytes that are held until the backward pass
  double working = 0;  // further bytes, while losses or their gradients are computed
};
// `lora`: trained adapters; rank 0: none.
LanguageCost language_cost(const LanguageConfig& config, const LanguageTexts& texts,
                           double type_bytes, const LoraConfig& lora = {});

// The operations of reading texts of these lengths for their states (FrozenLanguage::read).
double reading_flops(const LanguageConfig& config, const std::vector<std::int64_t>& lengths);

}  // namespace blip2

#pragma once

#include <cstdint>
#include <vector>

#include "blip2/costs/part_size.h"
#include "blip2/language/frozen_language.h"

namespace blip2 {

// What a frozen language model costs, from its configuration alone.

// All of its file's.
std::int64_t language_parameters(const LanguageConfig& config);

// Bytes of its weights in memory. In half precision those of a decoder-only model's file stay
// mapped beside the matrices that are laid together; in f32 they are taken to be converted. `int8`:
// of a decoder-only model's layers.
double language_weight_bytes(const LanguageConfig& config, double type_bytes, bool int8);

// What an objective has it read, in tokens of each row.
struct LanguageTexts {
  std::vector<std::int64_t> prompts;  // soft prompts and prompt
  std::vector<std::int64_t> targets;  // the caption or answer, end token included
};

// One pass forward and back; the gradients go to its input alone.
struct LanguageCost {
  Flops flops;
  double tokens = 0;   // read, soft prompts included
  double lent = 0;     // bytes of activations that a decoder-only model keeps for its next pass
  double kept = 0;     // bytes that are held until the backward pass
  double working = 0;  // bytes besides, while losses or their gradients are computed
};
LanguageCost language_cost(const LanguageConfig& config, const LanguageTexts& texts,
                           double type_bytes);

}  // namespace blip2

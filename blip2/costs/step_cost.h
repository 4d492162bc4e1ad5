#pragma once

#include <cstdint>
#include <vector>

#include "blip2/costs/part_size.h"
#include "blip2/model/config.h"
#include "blip2/recipe/recipe.h"

namespace blip2 {

// The lengths of all texts that one step reads, in tokens.
struct StepTexts {
  std::int64_t samples = 0;           // B
  std::vector<std::int64_t> qformer;  // tokens of each text that the Q-Former reads; may be empty
  std::vector<std::int64_t> prompts;  // stage 2: tokens of each prompt
  std::vector<std::int64_t> targets;  // stage 2: tokens of each target, end token included
  std::vector<bool> whole;  // stage 2: prefix language modelling does not split the target
  // Tokens of each text whose states of the language model cross-attention reads; empty: of none.
  std::vector<std::int64_t> language = {};

  // The texts of samples [first, first + count).
  StepTexts part(std::int64_t first, std::int64_t count) const;
};

// The operations that a process computes at a time (a step, or a part of one with `accumulate`) and
// the memory that it needs in addition to the weights, from the same packed rows that the passes
// compute (qformer/packed_rows.h).
struct StepCost {
  Flops image_keys, qformer, heads, projection, language, words, encoder;
  double qformer_tokens = 0, language_tokens = 0;  // soft prompts included
  // Bytes: what the forward pass keeps for the backward pass of the Q-Former and of the language
  // model, pictures' features with their keys and values, what the losses hold, and what a trained
  // image encoder keeps.
  double qformer_bytes = 0, language_bytes = 0, feature_bytes = 0, loss_bytes = 0,
         encoder_bytes = 0;
  double pooled_bytes = 0;  // part of language_bytes: memory kept for the next pass

  double activation_bytes() const {
    return qformer_bytes + language_bytes + feature_bytes + loss_bytes + encoder_bytes;
  }
  Flops flops() const;
};

struct StepModel {
  const Blip2Config& config;
  const Recipe& recipe;
  EncoderSize encoder;
  std::int64_t word_targets = 0;  // different target tokens of the words objective
  std::int64_t processes = 1;     // processes that share each batch
};

}  // namespace blip2

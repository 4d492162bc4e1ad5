#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "blip2/language/frozen_language.h"
#include "blip2/language/teacher_forcing.h"
#include "blip2/recipe/recipe.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

class StepEstimate;

// What an objective of stage 2 may use to make its row.
struct RowDraw {
  bool question = false;         // whether the row's target is an answer
  std::int64_t mask_token = -1;  // see answer_mask()
  std::uint64_t seed = 0;  // from the step, the objective and the row's place in the whole batch
};

// An objective that trains soft prompts through the frozen language model: how it changes a plain
// row, and what the row costs.
struct Stage2Objective {
  const char* name;                  // its name in the log, and the recipe's key for its weight
  double ObjectivesRecipe::*weight;  // 0: the objective is not computed and costs nothing
  ForcedRow (*row)(ForcedRow plain, const RowDraw& draw);
  void (*cost)(StepEstimate& estimate);
  std::int64_t ObjectivesRecipe::*from = nullptr;  // the first step that has it; nullptr: step 0
  bool splits_texts = false;  // the language model has to read what a text begins with by itself
};
// Whether a language model of these traits can be trained through by the objective.
inline bool can_train(const Stage2Objective& objective, const LanguageTraits& traits) {
  return traits.reads_prefixes || !objective.splits_texts;
}
std::span<const Stage2Objective> stage2_objectives();

// The weights of stage2_objectives() in a step, in their order. An objective that starts later has
// weight 0, and if objectives alternate, all but one have.
std::vector<double> stage2_weights(const ObjectivesRecipe& recipe, std::int64_t step);

// The token that stands for a hidden token of an answer (CMLM): the tokenizer's mask token or, as
// most language models have none, the first that exists of T5's <extra_id_0>, the unknown token,
// the padding token and the end token. Error if there is none.
std::int64_t answer_mask(const Tokenizer& language);

}  // namespace blip2

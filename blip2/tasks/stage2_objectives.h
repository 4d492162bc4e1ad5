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

// What an objective of stage 2 may draw a row by.
struct RowDraw {
  bool question = false;         // whether the row answers one
  std::int64_t mask_token = -1;  // see answer_mask()
  std::uint64_t seed = 0;  // of the step, the objective and the row's place in the whole batch
};

// An objective by which soft prompts learn to speak to the frozen language model: what it makes of
// a plain row, and what that costs.
struct Stage2Objective {
  const char* name;                  // in the log; the key of the recipe that has its weight
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

// The weights of stage2_objectives() in a step, in their order: without what starts later, and one
// alone where they alternate.
std::vector<double> stage2_weights(const ObjectivesRecipe& recipe, std::int64_t step);

// What stands for a hidden token of an answer (CMLM): the tokenizer's mask token or, as most
// language models have none, T5's <extra_id_0>, the unknown, the padding or the end token, the
// first that there is. Error if there is none.
std::int64_t answer_mask(const Tokenizer& language);

}  // namespace blip2

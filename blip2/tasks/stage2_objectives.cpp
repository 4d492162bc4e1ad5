#include "blip2/tasks/stage2_objectives.h"

#include <algorithm>
#include <array>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/costs/step_estimate.h"
#include "blip2/objectives/cmlm.h"
#include "blip2/objectives/prefix_lm.h"
#include "blip2/tasks/alternation_internal.h"

namespace blip2 {
namespace {

void plain_cost(StepEstimate& estimate) {
  estimate.add_language(estimate.language_texts());
}

// A split moves any number of a caption's tokens but the last and the end token: here the mean.
void split_cost(StepEstimate& estimate) {
  LanguageTexts texts = estimate.language_texts();
  for (std::size_t i = 0; i < texts.prompts.size(); ++i) {
    if (estimate.texts().whole[i]) continue;
    const std::int64_t moved = std::max<std::int64_t>(texts.targets[i] - 2, 0) / 2;
    texts.prompts[i] += moved;
    texts.targets[i] -= moved;
  }
  estimate.add_language(texts);
}

// Answers are not split.
ForcedRow split_caption(ForcedRow plain, const RowDraw& draw) {
  return draw.question ? plain : split_answer(std::move(plain), draw.seed);
}

constexpr std::array kStage2Objectives{
    Stage2Objective{.name = "lm",
                    .weight = &ObjectivesRecipe::lm,
                    .row = [](ForcedRow plain, const RowDraw&) { return plain; },
                    .cost = plain_cost,
                    .from = &ObjectivesRecipe::lm_from},
    Stage2Objective{.name = "prefix_lm",
                    .weight = &ObjectivesRecipe::prefix_lm,
                    .row = split_caption,
                    .cost = split_cost,
                    .splits_texts = true},
    Stage2Objective{.name = "cmlm",
                    .weight = &ObjectivesRecipe::cmlm,
                    .row =
                        [](ForcedRow plain, const RowDraw& draw) {
                          return mask_answer(std::move(plain), draw.mask_token, draw.seed);
                        },
                    .cost = plain_cost}};

}  // namespace

std::span<const Stage2Objective> stage2_objectives() {
  return kStage2Objectives;
}

std::vector<double> stage2_weights(const ObjectivesRecipe& recipe, std::int64_t step) {
  std::vector<double> weights;
  for (const Stage2Objective& objective : kStage2Objectives) {
    weights.push_back(recipe.*objective.weight);
  }
  weights = step_weights(weights, recipe.alternate, step);
  for (std::size_t i = 0; i < kStage2Objectives.size(); ++i) {
    if (kStage2Objectives[i].from && step < recipe.*kStage2Objectives[i].from) weights[i] = 0;
  }
  return weights;
}

std::int64_t answer_mask(const Tokenizer& language) {
  const SpecialTokens special = language.special();
  for (const auto& id :
       {special.mask, language.id("<extra_id_0>"), special.unk, special.pad, special.eos}) {
    if (id) return *id;
  }
  throw Error("expected a mask, unknown, padding or end token for CMLM",
              "the language model's tokenizer");
}

}  // namespace blip2

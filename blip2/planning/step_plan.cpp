#include "blip2/planning/step_plan.h"

#include <algorithm>
#include <map>

#include "blip2/base/random.h"
#include "blip2/costs/step_estimate.h"
#include "blip2/tasks/stage1_objectives.h"
#include "blip2/tasks/stage2_objectives.h"

namespace blip2 {
namespace {

using Int = std::int64_t;

void add_stage1(StepEstimate& estimate, Int step) {
  const auto weights = stage1_weights(estimate.recipe().objectives, step);
  estimate.add_shared(shared_passes(weights));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] > 0) stage1_objectives()[i].cost(estimate);
  }
  if (estimate.recipe().objectives.words <= 0) return;
  estimate.add_projection();
  estimate.add_word_targets();
}

// The soft prompts, and what the language model makes of them.
void add_stage2(StepEstimate& estimate, Int step) {
  if (estimate.recipe().prompt.to_qformer) {
    estimate.add_own_pairs(PassRow::Text::none);
  } else {
    estimate.add_queries();
  }
  estimate.add_projection();
  const ObjectivesRecipe& o = estimate.recipe().objectives;
  const auto weights = stage2_weights(o, step);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] > 0) stage2_objectives()[i].cost(estimate);
  }
  if (o.words > 0) estimate.add_word_targets();
  if (o.contrast > 0) estimate.add_caption_contrast();
}

// Which objectives a step has.
std::vector<bool> objectives_of(const Recipe& recipe, Int step) {
  std::vector<bool> has;
  for (const double weight : recipe.stage == 1 ? stage1_weights(recipe.objectives, step)
                                               : stage2_weights(recipe.objectives, step)) {
    has.push_back(weight > 0);
  }
  return has;
}

}  // namespace

std::vector<StepKind> step_kinds(const Recipe& recipe) {
  constexpr Int kLookedAt = 1 << 16;
  const bool all = recipe.steps <= kLookedAt;
  const Int count = all ? recipe.steps : kLookedAt;
  Random random(derive_seed(static_cast<std::uint64_t>(recipe.seed), kLookedAt));
  std::map<std::vector<bool>, StepKind> kinds;
  for (Int i = 0; i < count; ++i) {
    const Int step =
        all ? i : static_cast<Int>(random.below(static_cast<std::uint64_t>(recipe.steps)));
    StepKind& kind =
        kinds.try_emplace(objectives_of(recipe, step), StepKind{0, 0, 0}).first->second;
    kind.step = std::max(kind.step, step);
    kind.share += 1;
  }
  std::vector<StepKind> result;
  for (const auto& [objectives, kind] : kinds) {
    result.push_back(
        {kind.step, std::ranges::count(objectives, true), kind.share / static_cast<double>(count)});
  }
  return result;
}

StepCost step_cost(const StepModel& model, const StepTexts& texts, std::int64_t step) {
  StepEstimate estimate(model, texts);
  if (model.recipe.stage == 1) {
    add_stage1(estimate, step);
  } else {
    add_stage2(estimate, step);
  }
  return estimate.result();
}

}  // namespace blip2

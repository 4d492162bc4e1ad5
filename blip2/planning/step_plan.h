#pragma once

#include <cstdint>
#include <vector>

#include "blip2/costs/step_cost.h"
#include "blip2/recipe/recipe.h"

namespace blip2 {

// The cost of what one process computes at a time, with the objectives of step number `step`.
StepCost step_cost(const StepModel& model, const StepTexts& texts, std::int64_t step);

// Steps of one kind have the same objectives.
struct StepKind {
  std::int64_t step = 0;        // the last step of this kind
  std::int64_t objectives = 0;  // number of objectives
  double share = 1;             // share of the run's steps that are of this kind
};
// The kinds of a run's steps; of a very long run, the kinds of 65,536 of its steps.
std::vector<StepKind> step_kinds(const Recipe& recipe);

}  // namespace blip2

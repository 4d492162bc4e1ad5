#pragma once

#include <cstdint>
#include <vector>

#include "blip2/costs/step_cost.h"
#include "blip2/recipe/recipe.h"

namespace blip2 {

// Of what a process computes at a time in step number `step`, whose objectives count.
StepCost step_cost(const StepModel& model, const StepTexts& texts, std::int64_t step);

// Steps of one kind have the same objectives.
struct StepKind {
  std::int64_t step = 0;        // the last of those looked at
  std::int64_t objectives = 0;  // how many
  double share = 1;             // of the run's steps
};
// The kinds of a run's steps; of a very long one, those of 65,536 of its steps.
std::vector<StepKind> step_kinds(const Recipe& recipe);

}  // namespace blip2

#pragma once

#include <cstdint>

#include "blip2/recipe/recipe.h"

namespace blip2 {

// The learning-rate schedule: the rate of step `step` (from 0) of the recipe's steps. A linear
// warm-up from lr / warmup_steps, then a cosine down to min_lr at the last step.
double learning_rate(const Recipe& recipe, std::int64_t step);

}  // namespace blip2

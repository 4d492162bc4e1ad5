#pragma once

#include <array>
#include <cstdint>

#include "blip2/training/alternation.h"
#include "blip2/training/recipe.h"

namespace blip2 {

// The weights of ITC, ITM, ITG, MLM and MRM, in this order.
using Stage1Weights = std::array<double, 5>;

// As the recipe has them, whatever the step.
inline Stage1Weights stage1_weights(const ObjectivesRecipe& recipe) {
  return {recipe.itc, recipe.itm, recipe.itg, recipe.mlm, recipe.mrm};
}

// Of a step: without what starts later, and of one objective where they alternate.
inline Stage1Weights stage1_weights(const ObjectivesRecipe& recipe, std::int64_t step) {
  auto [itc, itm, itg, mlm, mrm] = stage1_weights(recipe);
  if (step < recipe.itm_from) itm = 0;
  if (step < recipe.itg_from) itg = 0;
  return step_weights(Stage1Weights{itc, itm, itg, mlm, mrm}, recipe.alternate, step);
}

}  // namespace blip2

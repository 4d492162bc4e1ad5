#include "blip2/planning/step_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "blip2/tasks/stage1_objectives.h"

namespace blip2 {
namespace {

// Shares of a run's steps with contrast alone, with matching, with generation, with both.
TEST(StepPlan, KindsOfStepsAreCounted) {
  Recipe recipe;
  recipe.steps = 12;
  recipe.objectives.itm_every = 4;  // steps 0, 4, 8
  recipe.objectives.itg_from = 3;
  recipe.objectives.itg_every = 3;  // steps 3, 6, 9
  double total = 0;
  std::vector<std::pair<bool, bool>> seen;
  for (const StepKind& kind : step_kinds(recipe)) {
    const auto weights = stage1_weights(recipe.objectives, kind.step);
    seen.emplace_back(weights[1] > 0, weights[2] > 0);
    EXPECT_DOUBLE_EQ(kind.share, weights[1] + weights[2] > 0 ? 0.25 : 0.5);
    total += kind.share;
  }
  EXPECT_DOUBLE_EQ(total, 1);
  EXPECT_THAT(seen, ::testing::UnorderedElementsAre(std::pair(false, false), std::pair(true, false),
                                                    std::pair(false, true)));
  recipe.steps = 10'000'000;
  recipe.objectives.itg = 0;
  for (const StepKind& kind : step_kinds(recipe)) {
    EXPECT_NEAR(kind.share, stage1_weights(recipe.objectives, kind.step)[1] > 0 ? 0.25 : 0.75,
                0.01);
  }
}

}  // namespace
}  // namespace blip2

#include "blip2/tasks/alternation_internal.h"

#include <gtest/gtest.h>

#include <array>

namespace blip2 {
namespace {

TEST(Alternation, StepsAreSharedOutByWeight) {
  const std::array<double, 4> weights{3, 0, 1, 2};
  std::array<int, 4> steps{};
  for (std::int64_t step = 0; step < 600; ++step) {
    ++steps[scheduled(weights, step)];
    for (std::size_t i = 0; i < 4; ++i) {  // after any number of steps
      EXPECT_NEAR(steps[i], (step + 1) * weights[i] / 6, 3);
    }
  }
  EXPECT_EQ(steps[1], 0);
}

TEST(Alternation, OneObjectiveAStepOrAllOfThem) {
  const std::array<double, 3> weights{0, 0.5, 0};
  EXPECT_EQ(step_weights(weights, true, 1'000'000'007), (std::array<double, 3>{0, 1, 0}));
  EXPECT_EQ(step_weights(weights, false, 3), weights);
}

}  // namespace
}  // namespace blip2

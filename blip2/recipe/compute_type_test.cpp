#include "blip2/recipe/compute_type.h"

#include <gtest/gtest.h>

#include "blip2/base/processor.h"

namespace blip2 {
namespace {

TEST(ComputeType, AutoIsBf16WhereTheProcessorMultipliesIt) {
  Recipe recipe;
  recipe.precision = "auto";
  EXPECT_EQ(compute_type(recipe), processor().avx512_bf16 ? at::kBFloat16 : at::kFloat);
  recipe.precision = "f32";
  EXPECT_EQ(compute_type(recipe), at::kFloat);
  recipe.precision = "bf16";
  EXPECT_EQ(compute_type(recipe), at::kBFloat16);
}

}  // namespace
}  // namespace blip2

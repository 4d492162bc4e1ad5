#include "blip2/evaluation/exact_match.h"

#include <gtest/gtest.h>

#include <vector>

namespace blip2 {
namespace {

TEST(ExactMatchTest, FoldsCaseAndSpace) {
  EXPECT_EQ(fold_text("  Grinning\t Face \n"), "grinning face");
  EXPECT_EQ(fold_text(" \n"), "");
  EXPECT_EQ(fold_text("É"), "É");
}

TEST(ExactMatchTest, AnyRightAnswerCounts) {
  const std::vector<std::string> right{"red circle", "Circle"};
  EXPECT_TRUE(equals_any("circle", right));
  EXPECT_TRUE(equals_any("Red  circle", right));
  EXPECT_FALSE(equals_any("red", right));
}

}  // namespace
}  // namespace blip2

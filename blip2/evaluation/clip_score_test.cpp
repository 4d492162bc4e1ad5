#include "blip2/evaluation/clip_score.h"

#include <gtest/gtest.h>

#include <array>

namespace blip2 {
namespace {

// Computed by hand: 2.5 * 0.3 = 0.75, and 2 * 0.75 * 0.5 / 1.25 = 0.6.
TEST(ClipScore, WeighsThePictureAloneInTheHarmonicMean) {
  const std::array references{0.1, 0.5, -0.9};
  const ClipScore score = clip_score(0.3, references);
  EXPECT_DOUBLE_EQ(score.clipscore, 0.75);
  EXPECT_DOUBLE_EQ(score.refclipscore, 0.6);
}

TEST(ClipScore, NegativeCosinesCountAsNone) {
  const std::array some{0.4}, none{-0.4};
  EXPECT_EQ(clip_score(-0.2, some).clipscore, 0);
  EXPECT_EQ(clip_score(-0.2, some).refclipscore, 0);
  EXPECT_EQ(clip_score(0.2, none).refclipscore, 0);
  EXPECT_EQ(clip_score(-0.2, none).refclipscore, 0);  // and no 0 / 0
  EXPECT_DOUBLE_EQ(clip_score(0.2, {}).clipscore, 0.5);
  EXPECT_EQ(clip_score(0.2, {}).refclipscore, 0);
}

}  // namespace
}  // namespace blip2

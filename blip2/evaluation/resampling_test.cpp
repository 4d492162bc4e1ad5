#include "blip2/evaluation/resampling.h"

#include <gtest/gtest.h>

#include <cmath>

#include "blip2/base/error.h"
#include "blip2/base/random.h"

namespace blip2 {
namespace {

// Rows of 1 and a score.
RecordSums rows_of(const std::vector<double>& scores) {
  RecordSums sums{2, {}};
  for (const double score : scores) sums.values.insert(sums.values.end(), {1, score});
  return sums;
}

std::vector<double> mean(std::span<const double> total) {
  return {total[1] / total[0]};
}

std::vector<double> coins(std::size_t count, double share, std::uint64_t seed) {
  Random random(seed);
  std::vector<double> scores;
  for (std::size_t i = 0; i < count; ++i) scores.push_back(random.uniform() < share ? 1 : 0);
  return scores;
}

TEST(ResamplingTest, TheIntervalOfAMeanIsThatOfTheNormalDistribution) {
  const RecordSums sums = rows_of(coins(4000, 0.3, 1));
  const double centre = metrics_of(sums, mean)[0];
  const auto interval = bootstrap_intervals(sums, mean, {.samples = 2000, .seed = 3})[0];
  const double half = 1.96 * std::sqrt(centre * (1 - centre) / 4000);
  EXPECT_NEAR(interval.low, centre - half, half / 10);
  EXPECT_NEAR(interval.high, centre + half, half / 10);
}

// Of two records one has no value: a quarter of the draws has none at all.
TEST(ResamplingTest, DrawsWithoutValuesAreLeftOut) {
  const RecordSums some{2, {1, 0.25, 0, 0}}, none{2, {0, 0, 0, 0}};
  const auto interval = bootstrap_intervals(some, mean, {.samples = 200})[0];
  EXPECT_EQ(interval.low, 0.25);
  EXPECT_EQ(interval.high, 0.25);
  EXPECT_TRUE(std::isnan(bootstrap_intervals(none, mean, {.samples = 20})[0].low));
}

TEST(ResamplingTest, TheSeedAloneDecides) {
  const RecordSums sums = rows_of(coins(100, 0.5, 2));
  const auto draw = [&](std::uint64_t seed, std::size_t threads) {
    return bootstrap_intervals(sums, mean, {.samples = 50, .seed = seed, .threads = threads})[0]
        .low;
  };
  EXPECT_EQ(draw(1, 1), draw(1, 3));
  EXPECT_NE(draw(1, 1), draw(2, 1));
}

TEST(ResamplingTest, EqualRecordsHaveNoWidth) {
  const auto interval = bootstrap_intervals(rows_of({0.5, 0.5, 0.5}), mean, {.samples = 20})[0];
  EXPECT_EQ(interval.low, 0.5);
  EXPECT_EQ(interval.high, 0.5);
}

TEST(ResamplingTest, ADifferenceIsFoundAndNoneIsNot) {
  const std::vector<double> scores = coins(500, 0.5, 4);
  std::vector<double> better = scores;
  for (std::size_t i = 0; i < better.size(); i += 10) better[i] = 1;
  const Resampling resampling{.samples = 999, .seed = 5};
  EXPECT_LT(randomisation_test(rows_of(better), rows_of(scores), mean, resampling)[0], 0.01);
  EXPECT_EQ(randomisation_test(rows_of(scores), rows_of(scores), mean, resampling)[0], 1);
  // Two records that differ, of which each may have changed places: p is near 1/2 by hand.
  EXPECT_NEAR(randomisation_test(rows_of({1, 1, 0}), rows_of({0, 0, 0}), mean, resampling)[0], 0.5,
              0.06);
}

TEST(ResamplingTest, RefusesSetsOfTwoSizes) {
  EXPECT_THROW(randomisation_test(rows_of({1, 0}), rows_of({1}), mean, {}), Error);
}

}  // namespace
}  // namespace blip2

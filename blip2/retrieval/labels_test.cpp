#include "blip2/retrieval/labels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

double sum_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

TEST(LabelProbabilitiesTest, MatchedTextsShareWhatContrastGivesThem) {
  // By contrast 1/10, 2/10, 3/10, 4/10. The last two share 7/10 as 3 * 0.5 to 4 * 0.125: 3 to 1.
  const std::vector<double> contrast{0, std::log(2), std::log(3), std::log(4)};
  const std::vector<std::size_t> matched{3, 2};
  const std::vector<double> matching{std::log(0.125), std::log(0.5)};
  const auto p = label_probabilities(contrast, matched, matching);
  EXPECT_NEAR(p[0], 0.1, 1e-15);
  EXPECT_NEAR(p[1], 0.2, 1e-15);
  EXPECT_NEAR(p[2], 0.7 * 0.75, 1e-15);
  EXPECT_NEAR(p[3], 0.7 * 0.25, 1e-15);
}

TEST(LabelProbabilitiesTest, WithAllMatchedTheSoftmaxOfTheSum) {
  const std::vector<double> contrast{5, 4}, matching{std::log(0.1), std::log(0.9)};
  const std::vector<std::size_t> matched{0, 1};
  const double a = std::exp(5) * 0.1, b = std::exp(4) * 0.9;
  const auto p = label_probabilities(contrast, matched, matching);
  EXPECT_NEAR(p[0], a / (a + b), 1e-15);
  EXPECT_NEAR(p[1], b / (a + b), 1e-15);
}

TEST(LabelProbabilitiesTest, NoneMatchedIsTheSoftmaxOfContrast) {
  const std::vector<double> contrast{0, std::log(3)};
  const auto p = label_probabilities(contrast, {}, {});
  EXPECT_NEAR(p[0], 0.25, 1e-15);
  EXPECT_NEAR(p[1], 0.75, 1e-15);
}

TEST(LabelProbabilitiesTest, FarNumbersStillSumToOne) {
  const std::vector<double> contrast{1000, -1000, 999};
  const std::vector<std::size_t> matched{0, 2};
  const std::vector<double> matching{-745, -700};
  const auto p = label_probabilities(contrast, matched, matching);
  EXPECT_NEAR(sum_of(p), 1, 1e-12);
  EXPECT_GT(p[2], 0.999);
}

TEST(LabelProbabilitiesTest, RefusesWhatIsNoNumber) {
  const std::vector<double> contrast{0, std::numeric_limits<double>::quiet_NaN()}, fine{0, 0};
  const std::vector<std::size_t> matched{0};
  EXPECT_THROW(label_probabilities(contrast, matched, {fine.data(), 1}), Error);
  EXPECT_THROW(label_probabilities(fine, matched, {contrast.data() + 1, 1}), Error);
}

}  // namespace
}  // namespace blip2

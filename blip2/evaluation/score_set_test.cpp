#include "blip2/evaluation/score_set.h"

#include <gtest/gtest.h>

#include <cmath>

namespace blip2 {
namespace {

// Two answers with accuracies 1 and 0, of which the second has no further values.
TEST(ScoreSetTest, MeansAreOverTheRecordsThatHaveValues) {
  const TextItem reference{{"q"}, {"yes"}}, right{{"q"}, {"yes"}}, wrong{{"q"}, {"no"}};
  const std::vector<TextPair> pairs{{&right, &reference}, {&wrong, &reference}};
  ScoreSet set = score_answer_pairs(pairs);
  add_means(set, {"a", "b"}, std::vector<std::vector<double>>{{0.5, 3}, {}});
  EXPECT_EQ(set.names, (std::vector<std::string>{"accuracy", "a", "b"}));
  EXPECT_EQ(metrics_of(set.sums, set.metrics), (std::vector<double>{0.5, 0.5, 3}));
  EXPECT_EQ(set.metrics(set.sums.row(0)), (std::vector<double>{1, 0.5, 3}));
  const std::vector<double> without = set.metrics(set.sums.row(1));
  EXPECT_EQ(without[0], 0);
  EXPECT_TRUE(std::isnan(without[1]) && std::isnan(without[2]));
}

}  // namespace
}  // namespace blip2

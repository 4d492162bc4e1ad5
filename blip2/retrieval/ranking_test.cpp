#include "blip2/retrieval/ranking.h"

#include <gtest/gtest.h>

namespace blip2 {
namespace {

TEST(ContrastScoresTest, TakesTheBestQuery) {
  const at::Tensor images = torch::tensor({{{1.f, 0.f}, {0.f, 1.f}}, {{0.6f, 0.8f}, {1.f, 0.f}}});
  const at::Tensor texts = torch::tensor({{0.f, 1.f}, {1.f, 0.f}, {0.8f, 0.6f}});
  const at::Tensor expected = torch::tensor({{1.f, 1.f, 0.8f}, {0.8f, 1.f, 0.96f}});
  EXPECT_TRUE(at::allclose(contrast_scores(images, texts), expected));
}

TEST(RecallsTest, CountsTheBestRightItem) {
  // Picture 0: right texts 0 and 2; its best right one is first. Picture 1: right text 1, third.
  const at::Tensor scores = torch::tensor({{0.1f, 0.5f, 0.9f}, {0.7f, 0.2f, 0.6f}});
  const Relevance relevance{{{0, 2}, {1}}, {{0}, {1}, {0}}};
  const auto result = recalls(scores, scores, relevance);
  EXPECT_DOUBLE_EQ(result.image_to_text.r1, 0.5);
  EXPECT_DOUBLE_EQ(result.image_to_text.r5, 1.0);
  // Text 0: right picture 0 second; text 1: right picture 1 second; text 2: right picture 0 first.
  EXPECT_DOUBLE_EQ(result.text_to_image.r1, 1.0 / 3);
  EXPECT_DOUBLE_EQ(result.text_to_image.r10, 1.0);
}

TEST(RecallsTest, RanksAndAveragePrecisionByHand) {
  // Picture 0: right texts first and third of two right ones: mAP@R (1 + 0) / 2. Picture 1: third.
  const at::Tensor scores = torch::tensor({{0.9f, 0.5f, 0.1f}, {0.7f, 0.6f, 0.2f}});
  const auto result = recalls(scores, scores, {{{0, 2}, {2}}, {{0}, {1}, {1}}});
  EXPECT_DOUBLE_EQ(result.image_to_text.mean_rank, 2);
  EXPECT_DOUBLE_EQ(result.image_to_text.median_rank, 2);
  EXPECT_DOUBLE_EQ(result.image_to_text.map_at_r, 0.25);
  EXPECT_DOUBLE_EQ(result.text_to_image.median_rank, 1);
  EXPECT_DOUBLE_EQ(result.text_to_image.map_at_r, 1);
}

TEST(RecallsTest, TiesCountAgainst) {
  const at::Tensor scores = torch::tensor({{0.5f, 0.5f}});
  EXPECT_DOUBLE_EQ(recalls(scores, scores, {{{0}}, {{0}, {}}}).image_to_text.r1, 0.0);
}

TEST(RerankTest, OnlyTheBestByContrastAreMatched) {
  const at::Tensor contrast = torch::tensor({{0.9f, 0.8f, 0.1f}, {0.2f, 0.3f, 0.7f}});
  const Candidates best = candidates(contrast, 2);
  ASSERT_EQ(best.pairs.size(0), 6);  // with two pictures, each is among the two best of every text
  const at::Tensor matching = best.pairs.select(1, 1).eq(1) * 5.f;
  const auto result = rerank(contrast, best, matching);
  const at::Tensor first = result.texts_for_images[0];
  EXPECT_NEAR(first[1].item<double>(), 5.8, 1e-6);
  EXPECT_NEAR(first[0].item<double>(), 0.9, 1e-6);
  EXPECT_LT(first[2].item<double>(), -1000);
}

}  // namespace
}  // namespace blip2

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "blip2/base/error.h"
#include "blip2/objectives/itc.h"
#include "blip2/objectives/itg.h"
#include "blip2/objectives/itm.h"
#include "blip2/objectives/words.h"
#include "blip2/qformer/stage1_heads.h"

namespace blip2 {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

at::Tensor ids(std::vector<std::int64_t> values) {
  return at::tensor(values, at::kLong);
}

TEST(Contrast, TinyCaseByHand) {
  // Cosines over a temperature of 0.5: rows (2, 0) and (0, 2) both ways; without smoothing each
  // row's loss is log(1 + e^-2).
  const at::Tensor cosine = at::eye(2), matches = at::eye(2).to(at::kBool);
  const ContrastLoss plain =
      contrast_loss(cosine, at::full({}, 0.5), matches, {.label_smoothing = 0});
  EXPECT_NEAR(plain.loss.item<double>(), std::log1p(std::exp(-2.0)), 1e-6);
  EXPECT_EQ(plain.accuracy, 1.0);
  // Smoothing 0.1 over two: 0.95 on the pair, 0.05 on the other, which costs 2 more.
  const ContrastLoss smooth = contrast_loss(cosine, at::full({}, 0.5), matches);
  EXPECT_NEAR(smooth.loss.item<double>(), std::log1p(std::exp(-2.0)) + 0.05 * 2, 1e-6);
}

TEST(Contrast, ClampsTheTemperatureIfAsked) {
  const at::Tensor cosine = at::eye(2), matches = at::eye(2).to(at::kBool);
  const auto top = [&](bool clamp) {
    return contrast_loss(cosine, at::full({}, 1.0), matches, {.clamp_temperature = clamp})
        .similarity.max()
        .item<double>();
  };
  EXPECT_EQ(top(true), 2);
  EXPECT_EQ(top(false), 1);
}

TEST(Contrast, MatchesOfOnePictureOrCaption) {
  const at::Tensor matches = matching_pairs(ids({0, 1, 0}), ids({5, 6, 7}));
  EXPECT_TRUE(
      matches.equal(at::tensor({1, 0, 1, 0, 1, 0, 1, 0, 1}, at::kLong).view({3, 3}).to(at::kBool)));
  EXPECT_THROW(contrast_loss(at::eye(2), at::full({}, 0.5), matches), Error);
}

TEST(Contrast, BestQueryCounts) {
  const at::Tensor queries = at::tensor({1.0f, 0.0f, 0.0f, 1.0f}).view({1, 2, 2});
  EXPECT_TRUE(
      best_cosine(queries, at::tensor({0.6f, 0.8f}).view({1, 2})).allclose(at::full({1, 1}, 0.8)));
}

TEST(Negatives, NeverMatchAndFollowTheSoftmax) {
  const at::Tensor similarity = at::tensor({9.0f, 2.0f, 0.0f, 9.0f, 9.0f, 0.0f, 9.0f, 0.0f, 9.0f});
  const at::Tensor matches = at::eye(3).to(at::kBool);
  int first = 0;
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    const Negatives drawn = draw_negatives(similarity.view({3, 3}), matches, seed);
    for (int i = 0; i < 3; ++i) {
      EXPECT_NE(drawn.texts[i], i);
      EXPECT_NE(drawn.images[i], i);
    }
    first += drawn.texts[0] == 1;
  }
  EXPECT_NEAR(first / 2000.0, 1 / (1 + std::exp(-2.0)), 0.03);
}

TEST(Negatives, NoneWhereEveryPairMatches) {
  const Negatives none = draw_negatives(at::zeros({2, 2}), at::ones({2, 2}, at::kBool), 1);
  EXPECT_THAT(none.images, Each(-1));
  const Triplets triplets = make_triplets(none);
  EXPECT_THAT(triplets.pairs.images, ElementsAre(0, 1));
  EXPECT_TRUE(triplets.labels.equal(ids({1, 1})));
  EXPECT_EQ(matching_loss(at::zeros({2, 2}), triplets.labels).loss.item<double>(), 0);
}

TEST(Matching, TripletsAreOneToTwoAndChanceIsKnown) {
  const Triplets triplets = make_triplets({.images = {1, 0}, .texts = {1, 0}});
  EXPECT_THAT(triplets.pairs.images, ElementsAre(0, 1, 1, 0, 0, 1));
  EXPECT_THAT(triplets.pairs.texts, ElementsAre(0, 1, 0, 1, 1, 0));
  const double odds = std::log(0.5);  // a third of the pairs match
  const at::Tensor logits = at::tensor({0.0, odds}).to(at::kFloat).repeat({6, 1});
  EXPECT_NEAR(matching_loss(logits, triplets.labels).loss.item<double>(), 0.6365, 1e-4);
}

TEST(Matching, TripletsLieWhereTheirPictureIs) {
  const Negatives negatives{.images = {2, 0, 1, 0}, .texts = {3, 2, -1, 0}};
  const Triplets first = make_triplets(negatives, 0, 2), second = make_triplets(negatives, 2, 2);
  EXPECT_THAT(first.pairs.images, ElementsAre(0, 1, 0, 1, 0, 0, 1));
  EXPECT_THAT(first.pairs.texts, ElementsAre(0, 1, 1, 2, 3, 3, 2));
  EXPECT_THAT(second.pairs.images, ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(second.pairs.texts, ElementsAre(2, 3, 0, 0));
  EXPECT_TRUE(second.labels.equal(ids({1, 1, 0, 0})));
}

TEST(Generation, ReadsDecAndPredictsTheNextToken) {
  const GenerationText text = generation_text({ids({1, 7, 8, 2, 1, 1, 2}), {4, 1, 2}}, 99);
  EXPECT_TRUE(text.inputs.ids.equal(ids({99, 7, 8, 99})));
  EXPECT_THAT(text.inputs.lengths, ElementsAre(3, 1));
  EXPECT_TRUE(text.targets.equal(ids({7, 8, 2, 2})));
  EXPECT_THAT(text.sources, ElementsAre(0, 2));
}

TEST(VocabularyLoss, EqualsPyTorchsWithGradients) {
  at::manual_seed(1);
  const at::Tensor hidden = at::randn({5, 6}).requires_grad_();
  const at::Tensor words = at::randn({11, 6}).requires_grad_();
  const at::Tensor bias = at::randn({11}).requires_grad_();
  const at::Tensor targets = ids({3, kIgnoredLabel, 0, 10, 3});
  const at::Tensor expected =
      at::cross_entropy_loss(at::linear(hidden, words, bias), targets, {}, 1, kIgnoredLabel, 0.1);
  const TokenLoss ours = vocabulary_loss(hidden, words, words.detach(), bias, targets, 0.1);
  EXPECT_NEAR(ours.loss.item<double>(), expected.item<double>(), 1e-5);
  EXPECT_EQ(ours.targets, 4);
  const auto gradients = torch::autograd::grad({expected * 3}, {hidden, words, bias});
  const auto own = torch::autograd::grad({ours.loss * 3}, {hidden, words, bias});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(own[i].allclose(gradients[i], 1e-4, 1e-6)) << i;
}

TEST(VocabularyLoss, RefusesTargetsOutsideAndAcceptsNone) {
  const at::Tensor hidden = at::zeros({2, 3}), words = at::zeros({5, 3});
  EXPECT_THAT(
      [&] {
        vocabulary_loss(hidden, words, words, {}, ids({0, 5}), 0);
      },
      ThrowsMessage<Error>(HasSubstr("0 to 4, got 5")));
  EXPECT_THROW(vocabulary_loss(hidden, words, words, {}, ids({0}), 0), Error);
  const TokenLoss none = vocabulary_loss(hidden, words, words, {}, ids({-100, -100}), 0);
  EXPECT_EQ(none.loss.item<double>(), 0);
  EXPECT_EQ(none.targets, 0);
}

// Two words along the axes: logits are 16 times the cosines.
TEST(WordsTest, PointsPromptsToTheirWords) {
  const std::vector<std::int64_t> tokens{5, 9};
  const WordTargets words(tokens, at::eye(2) * 3, 16);
  const at::Tensor places = words.places({{9}, {5, 9, 5}}, 2);
  EXPECT_TRUE(places.equal(ids({1, kIgnoredLabel, 0, 1}).view({2, 2})));
  const at::Tensor soft = at::tensor({0.0f, 2.0f, 1.0f, 1.0f, 3.0f, 4.0f, 4.0f, 3.0f});
  const TokenLoss loss = words.loss(soft.view({2, 2, 2}), places, 0);
  // Cosines of right and wrong word: 1 and 0; 0.6 and 0.8; 0.6 and 0.8.
  const double expected = (std::log1p(std::exp(-16)) + 2 * std::log1p(std::exp(3.2))) / 3;
  EXPECT_EQ(loss.targets, 3);
  EXPECT_NEAR(loss.loss.item<double>(), expected, 1e-5);
  EXPECT_NEAR(loss.accuracy, 1.0 / 3, 1e-9);
  EXPECT_TRUE(words.places({{7}, {99}}, 1).equal(at::full({2, 1}, kIgnoredLabel, at::kLong)));
}

}  // namespace
}  // namespace blip2

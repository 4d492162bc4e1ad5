#include "blip2/evaluation/caption_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

using Strings = std::vector<std::string>;
using Pictures = std::vector<Strings>;

std::vector<CaptionScore> scores_of(const Strings& candidates, const Pictures& references) {
  return score_captions(candidates,
                        std::vector<CaptionTexts>(references.begin(), references.end()));
}

TEST(CaptionMetricsTest, OneSentenceByHand) {
  // Words 2 of 3 right, bigrams 1 of 2; the candidate is as long as the reference.
  const CaptionScores scores = summarise(scores_of(Strings{"a red cat"}, Pictures{{"a red dog"}}));
  EXPECT_NEAR(scores.bleu[0], 2 / 3., 1e-8);
  EXPECT_NEAR(scores.bleu[1], std::sqrt(2 / 3. * 1 / 2.), 1e-8);
  EXPECT_NEAR(scores.bleu[3], 0, 1e-3);
  EXPECT_NEAR(scores.rouge_l, 2 / 3., 1e-12);  // precision and recall are equal
  EXPECT_EQ(scores.cider, 0);                  // one picture: nothing is rare
}

TEST(CaptionMetricsTest, ShortCandidatesArePunished) {
  const CaptionScores scores = summarise(scores_of(Strings{"a red"}, Pictures{{"a red dog runs"}}));
  EXPECT_NEAR(scores.bleu[0], std::exp(1 - 4 / 2.), 1e-8);
}

TEST(CaptionMetricsTest, EqualCaptionsAreBest) {
  const Strings ours{"a red dog runs home", "two blue birds sing well"};
  const CaptionScores scores = summarise(scores_of(ours, Pictures{{ours[0]}, {ours[1]}}));
  for (const double bleu : scores.bleu) EXPECT_NEAR(bleu, 1, 1e-8);
  EXPECT_NEAR(scores.rouge_l, 1, 1e-12);
  EXPECT_NEAR(scores.cider, 10, 1e-12);
}

TEST(CaptionMetricsTest, ThePapersCiderCountsByShares) {
  // "cat" is in one of two pictures: of weight w, half of the one caption, two thirds of the other.
  // "a cat" is all of the one caption's bigrams and half of the other's.
  const auto scores = scores_of(Strings{"a cat", "a dog"}, Pictures{{"a cat cat"}, {"a dog"}});
  const double unigrams = std::min(1 / 2., 2 / 3.) * (2 / 3.) / (1 / 2. * 2 / 3.);
  const double bigrams = std::min(1., 1 / 2.) * (1 / 2.) / (1. * std::sqrt(1 / 4. + 1 / 4.));
  EXPECT_NEAR(scores[0].cider_d, 10 * (unigrams + bigrams) / 4 * std::exp(-1 / 72.), 1e-12);
  EXPECT_NEAR(scores[1].cider_d, 10 * 2 / 4., 1e-12);  // neither has tri- and 4-grams
  const double counted = std::min(1., 2.) * 2 / (1. * 2.) + 1 / (1. * std::sqrt(2.));
  EXPECT_NEAR(scores[0].cider, 10 * counted / 4 * std::exp(-1 / 72.), 1e-12);
}

TEST(CaptionMetricsTest, ManyWordsAndThreadsGiveTheSame) {
  std::string many;
  for (int i = 0; i < 70'000; ++i) many += "w" + std::to_string(i) + " ";
  const Strings ours{"a red dog runs home", "two blue birds sing well", "w1 w2 w3 w5"};
  for (const std::size_t threads : {1, 3}) {
    const Pictures references{{ours[0]}, {ours[1], "two birds"}, {many}};
    const auto scores = score_captions(
        ours, std::vector<CaptionTexts>(references.begin(), references.end()), threads);
    EXPECT_NEAR(scores[0].cider, 10, 1e-12);
    EXPECT_NEAR(scores[0].cider_d, 10, 1e-12);
    EXPECT_THAT(scores[2].bleu.right, testing::ElementsAre(4, 2, 1, 0));
  }
}

TEST(CaptionMetricsTest, TextsAreTokenised) {
  const Strings ours{"A red dog.", "Birds!"}, first{"x", "a red dog"}, second{"birds"};
  const auto scores = score_texts(ours, std::vector<CaptionTexts>{first, second});
  EXPECT_NEAR(summarise(scores).bleu[0], 1, 1e-8);
  EXPECT_NEAR(scores[1].rouge_l, 1, 1e-12);
}

TEST(CaptionMetricsTest, RefusesWhatDoesNotFit) {
  EXPECT_THROW(scores_of({}, {}), Error);
  EXPECT_THROW(scores_of(Strings{"a"}, Pictures{}), Error);
  EXPECT_THROW(scores_of(Strings{"a"}, Pictures{{}}), Error);
}

}  // namespace
}  // namespace blip2

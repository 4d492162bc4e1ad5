#include "blip2/retrieval/caption_ranking.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> texts_of(const std::vector<RankedCaption>& captions) {
  std::vector<std::string> texts;
  for (const RankedCaption& c : captions) texts.push_back(c.text + (c.original ? "!" : ""));
  return texts;
}

TEST(DistinctCaptionsTest, TheFirstOfThoseThatSayTheSameStays) {
  const std::vector<std::string> originals{"A Dog .", "a cat", "A  cat."};
  const std::vector<std::string> generated{"a dog",          "",      " . ", "a dog's cat",
                                           "a\tdog's CAT..", "a dogs"};
  EXPECT_THAT(texts_of(distinct_captions(originals, generated)),
              ElementsAre("A Dog .!", "a cat!", "a dog's cat", "a dogs"));
  EXPECT_TRUE(distinct_captions({}, {}).empty());
}

TEST(DistinctCaptionsTest, OtherLettersKeepTheirCase) {
  const std::vector<std::string> generated{"Ü", "ü", "Ü."};
  EXPECT_THAT(texts_of(distinct_captions({}, generated)), ElementsAre("Ü", "ü"));
}

const std::vector<RankedCaption> kRanked{
    {"a", true, 0.5}, {"b", false, 0.25}, {"c", false, 0.75}, {"d", false, 0.5}};

TEST(BestCaptionsTest, BestFirstAndOfEqualsTheFirst) {
  EXPECT_THAT(texts_of(best_captions(kRanked, 2, -1)), ElementsAre("c", "a!"));
  EXPECT_THAT(texts_of(best_captions(kRanked, 0, -1)), ElementsAre("c", "a!", "d", "b"));
  EXPECT_THAT(texts_of(best_captions(kRanked, 9, 0.5)), ElementsAre("c", "a!", "d"));
  EXPECT_THAT(texts_of(best_captions(kRanked, 9, 0.8)), ElementsAre());
}

TEST(BestCaptionsTest, RefusesWhatIsNoNumber) {
  auto captions = kRanked;
  captions[1].score = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(best_captions(captions, 1, -1), Error);
}

TEST(CaptionRankTest, Names) {
  EXPECT_EQ(caption_rank_of("sum"), CaptionRank::sum);
  EXPECT_THROW(caption_rank_of("clip"), Error);
}

}  // namespace
}  // namespace blip2

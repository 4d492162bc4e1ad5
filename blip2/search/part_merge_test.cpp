#include "blip2/search/part_merge_internal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<PartRange> plan(const std::vector<PartSize>& parts) {
  return plan_merges(parts);
}

std::vector<PartSize> whole(const std::vector<std::size_t>& rows) {
  std::vector<PartSize> parts;
  for (const std::size_t count : rows) parts.push_back({count, count});
  return parts;
}

TEST(PlanMerges, UpToEightPartsStay) {
  EXPECT_THAT(plan({}), IsEmpty());
  EXPECT_THAT(plan(whole({1, 1, 1, 1, 1, 1, 1, 1})), IsEmpty());
}

TEST(PlanMerges, TheNinthIsMergedWithThoseOfItsSize) {
  EXPECT_THAT(plan(whole({1, 1, 1, 1, 1, 1, 1, 1, 1})), ElementsAre(PartRange{0, 9}));
  EXPECT_THAT(plan(whole({50000, 100, 100, 100, 100, 100, 100, 100, 100})),
              ElementsAre(PartRange{1, 9}));
  EXPECT_THAT(plan(whole({50000, 9000, 100, 100, 100, 100, 100, 100, 100})),
              ElementsAre(PartRange{2, 9}));
}

TEST(PlanMerges, ASmallPartWaitsBesideLargeOnes) {
  EXPECT_THAT(plan(whole({5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 100})), IsEmpty());
  EXPECT_THAT(plan(whole({5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 100, 100})),
              ElementsAre(PartRange{8, 10}));
  EXPECT_THAT(plan(whole({1 << 24, 1 << 21, 1 << 18, 1 << 15, 1 << 12, 1 << 9, 1 << 6, 8, 1})),
              IsEmpty());
}

TEST(PlanMerges, MoreThanAQuarterOfDeadRows) {
  EXPECT_THAT(plan({{100, 75}}), IsEmpty());
  EXPECT_THAT(plan({{100, 74}, {10, 10}, {4, 1}}), ElementsAre(PartRange{0, 1}, PartRange{2, 3}));
}

// A row is copied about once for each doubling of the index.
TEST(PlanMerges, CopiesGrowWithTheLogarithm) {
  std::vector<PartSize> parts;
  std::size_t copied = 0;
  constexpr std::size_t kCommits = 4096;
  for (std::size_t i = 0; i < kCommits; ++i) {
    parts.push_back({100, 100});
    for (const PartRange& range : plan_merges(parts)) {
      PartSize sum;
      for (std::size_t p = range.begin; p < range.end; ++p) sum.rows += parts[p].rows;
      sum.alive = sum.rows;
      copied += sum.rows;
      parts.erase(parts.begin() + range.begin + 1, parts.begin() + range.end);
      parts[range.begin] = sum;
    }
    EXPECT_LE(parts.size(), 16u);
  }
  EXPECT_LT(copied, kCommits * 100 * 12);
}

TEST(Basis, IsFittedAgainForEightTimesThePictures) {
  Generation generation;
  const VectorShape shape{1, 64};
  generation.basis =
      std::make_shared<const Basis>(Basis::fit(shape, std::vector<float>(64, 0.125f)));
  const auto outgrown = [&](std::int64_t fitted_on, std::size_t rows, std::size_t merged) {
    generation.fitted_on = fitted_on;
    generation.pictures = static_cast<std::int64_t>(rows + merged);
    generation.parts.assign(2, {});
    generation.parts[0].alive = all_alive(rows);
    generation.parts[1].alive = all_alive(merged);
    const PartRange last{1, 2};
    return should_fit_again(generation, std::span(&last, 1));
  };
  EXPECT_FALSE(outgrown(10, 40, 40));
  EXPECT_TRUE(outgrown(10, 40, 41));
  EXPECT_FALSE(outgrown(10, 80, 41));  // most of it would stay
  EXPECT_FALSE(outgrown(20000, 100000, 100000));
  generation.basis = nullptr;
  EXPECT_FALSE(outgrown(10, 40, 41));
}

}  // namespace
}  // namespace blip2

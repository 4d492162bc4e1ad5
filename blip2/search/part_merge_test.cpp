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

TEST(PlanMerges, AtLeastOneMergeIfAllSizesDiffer) {
  EXPECT_THAT(plan(whole({1 << 24, 1 << 21, 1 << 18, 1 << 15, 1 << 12, 1 << 9, 1 << 6, 8, 1})),
              ElementsAre(PartRange{7, 9}));
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
    EXPECT_LE(parts.size(), 8u);
  }
  EXPECT_LT(copied, kCommits * 100 * 12);
}

TEST(Basis, IsOutgrownByEightTimesThePictures) {
  Generation generation;
  EXPECT_FALSE(basis_is_outgrown(generation));
  const VectorShape shape{1, 64};
  generation.basis =
      std::make_shared<const Basis>(Basis::fit(shape, std::vector<float>(64, 0.125f)));
  generation.fitted_on = 10;
  generation.pictures = 80;
  EXPECT_FALSE(basis_is_outgrown(generation));
  generation.pictures = 81;
  EXPECT_TRUE(basis_is_outgrown(generation));
  generation.fitted_on = 20000;
  generation.pictures = 1'000'000;
  EXPECT_FALSE(basis_is_outgrown(generation));
}

}  // namespace
}  // namespace blip2

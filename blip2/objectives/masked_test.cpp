#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "blip2/base/error.h"
#include "blip2/objectives/cmlm.h"
#include "blip2/objectives/mlm.h"
#include "blip2/objectives/mrm.h"
#include "blip2/objectives/prefix_lm.h"

namespace blip2 {
namespace {

using Ids = std::vector<std::int64_t>;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

at::Tensor tokens(std::vector<std::int64_t> values) {
  return at::tensor(values, at::kLong);
}

// [CLS] 1, [SEP] 2, [MASK] 3.
WordMasking masking(double share = 0.15) {
  return {.mask_token = 3, .vocabulary = 50, .special = {1, 2, 3}, .share = share};
}

TEST(MaskText, EveryTextLosesAWordAndNoSpecialOne) {
  const TextRows text{tokens({1, 7, 8, 2, 1, 9, 2, 1, 2}), {4, 3, 2}};
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const MaskedText masked = mask_text(text, masking(), seed);
    ASSERT_EQ(masked.places.numel(), 2);  // the last text has no word
    const auto first = masked.places[0].item<std::int64_t>();
    EXPECT_TRUE(first == 1 || first == 2);
    EXPECT_EQ(masked.places[1].item<std::int64_t>(), 5);
    EXPECT_TRUE(masked.targets.equal(text.ids.index_select(0, masked.places)));
    EXPECT_EQ((masked.inputs.ids != text.ids).sum().item<std::int64_t>(),
              (masked.inputs.ids.index_select(0, masked.places) != masked.targets)
                  .sum()
                  .item<std::int64_t>());
  }
}

TEST(MaskText, TakesTheShareAndRepeatsItself) {
  const TextRows text{at::arange(10, 40), {30}};
  const MaskedText some = mask_text(text, masking(0.2), 1), same = mask_text(text, masking(0.2), 1);
  EXPECT_EQ(some.places.numel(), 6);
  EXPECT_TRUE(some.places.equal(same.places) && some.inputs.ids.equal(same.inputs.ids));
  EXPECT_FALSE(some.places.equal(mask_text(text, masking(0.2), 2).places));
  EXPECT_EQ(mask_text(text, masking(1), 1).places.numel(), 30);
}

// What is hidden of a text tells nothing about the words there.
TEST(MaskText, ChoosesPlacesWhateverTheWordsAre) {
  const TextRows text{tokens({1, 7, 8, 9, 10, 2, 1, 11, 12, 2}), {6, 4}};
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const std::uint64_t seeds[] = {seed, seed + 100};
    const MaskedText masked = mask_text(text, masking(0.4), seeds);
    for (std::int64_t i = 0; i < masked.places.numel(); ++i) {
      TextRows other{text.ids.clone(), text.lengths};
      other.ids[masked.places[i].item<std::int64_t>()] = 40;
      EXPECT_TRUE(mask_text(other, masking(0.4), seeds).places.equal(masked.places));
    }
    const TextRows second{text.ids.narrow(0, 6, 4), {4}};
    const MaskedText alone = mask_text(second, masking(0.4), std::span(seeds).last(1));
    EXPECT_TRUE(alone.inputs.ids.equal(masked.inputs.ids.narrow(0, 6, 4)));
  }
}

TEST(MaskText, RefusesWhatCannotBe) {
  const TextRows text{tokens({7, 8}), {2}};
  WordMasking none = masking();
  none.mask_token = -1;
  EXPECT_THAT([&] { mask_text(text, none, 0); },
              ThrowsMessage<Error>(HasSubstr("[MASK] token of 0 to 49, got -1")));
  EXPECT_THROW(mask_text(text, masking(0), 0), Error);
  WordMasking small = masking();
  small.vocabulary = 4;
  small.special = {0, 1, 2, 3};
  EXPECT_THROW(mask_text(text, small, 0), Error);
}

TEST(HideRegions, SpreadsThemOverTheQueries) {
  const HiddenRegions regions = hide_regions(Ids(20, 9), 4, 0.4, 1);  // 3.6 of 9
  EXPECT_EQ(regions.hidden.sizes(), at::IntArrayRef({20, 4}));
  EXPECT_EQ(regions.visible.numel(), 20 * 5);
  for (int i = 0; i < 20; ++i) {
    const at::Tensor hidden = regions.hidden[i], queries = regions.queries[i];
    EXPECT_TRUE(queries.equal(at::floor_divide(hidden * 4, 9)));
    EXPECT_TRUE(queries.equal(tokens({0, 1, 2, 3})));  // one each
    const at::Tensor all =
        std::get<0>(at::cat({hidden, regions.visible.narrow(0, i * 5, 5) - i * 9}).sort());
    EXPECT_TRUE(all.equal(at::arange(9)));
  }
  EXPECT_TRUE(hide_regions(Ids(20, 9), 4, 0.4, 1).hidden.equal(regions.hidden));
  EXPECT_FALSE(hide_regions(Ids(20, 9), 4, 0.4, 2).hidden.equal(regions.hidden));
}

TEST(HideRegions, OneAtLeastAndNeverAll) {
  EXPECT_EQ(hide_regions({5}, 32, 0.01, 0).hidden.size(1), 1);
  EXPECT_EQ(hide_regions({5}, 2, 0.99, 0).hidden.size(1), 4);
  EXPECT_THAT([] { hide_regions({1}, 4, 0.5, 0); },
              ThrowsMessage<Error>(HasSubstr("at least two positions")));
  EXPECT_THROW(hide_regions({5}, 4, 1, 0), Error);
}

// One picture of two positions with values along the axes; the query of position 1 points at 0.6 to
// the first, 0.8 to the second.
TEST(RegionLoss, IsTheCosinesCrossEntropy) {
  const at::Tensor keys_values =
      at::tensor({9.0f, 9.0f, 2.0f, 0.0f, 9.0f, 9.0f, 0.0f, 5.0f}).view({2, 4});
  const ImageKeysValues images{{keys_values, at::Tensor()}, {2}};
  const HiddenRegions regions{tokens({1}).view({1, 1}), tokens({1}).view({1, 1}), tokens({0}), {1}};
  const at::Tensor queries = at::tensor({1.0f, 0.0f, 3.0f, 4.0f}).view({1, 2, 2});
  const TokenLoss loss = region_loss(queries, images, regions);
  EXPECT_NEAR(loss.loss.item<double>(), std::log1p(std::exp(-0.2 / 0.07)), 1e-5);
  EXPECT_EQ(loss.targets, 1);
  EXPECT_EQ(loss.accuracy, 1);
  const ImageKeysValues seen = visible_part(images, regions);
  EXPECT_THAT(seen.positions, ElementsAre(1));
  EXPECT_TRUE(seen.layers[0].equal(keys_values.narrow(0, 0, 1)));
  EXPECT_FALSE(seen.layers[1].defined());
}

// Pictures with different numbers of positions give what each of them gives alone.
TEST(RegionLoss, KeepsPicturesApart) {
  torch::manual_seed(3);
  const Ids positions{7, 3, 12};
  const ImageKeysValues images{{torch::randn({22, 8})}, positions};
  const HiddenRegions regions = hide_regions(positions, 2, 0.4, 5);
  EXPECT_THAT(regions.counts, ElementsAre(4, 2, 7));
  EXPECT_EQ(regions.targets(), 3 + 1 + 5);
  const at::Tensor queries = torch::randn({3, 2, 4});
  const TokenLoss all = region_loss(queries, images, regions);
  double sum = 0, right = 0;
  std::int64_t first = 0;
  for (std::int64_t i = 0; i < 3; ++i) {
    const std::int64_t count = positions[static_cast<std::size_t>(i)];
    const ImageKeysValues one{{images.layers[0].narrow(0, first, count)}, {count}};
    const HiddenRegions alone = hide_regions({count}, 2, 0.4, 5, i);
    const TokenLoss loss = region_loss(queries.narrow(0, i, 1), one, alone);
    sum += loss.loss.item<double>() * static_cast<double>(loss.targets);
    right += loss.accuracy * static_cast<double>(loss.targets);
    EXPECT_TRUE(visible_part(one, alone)
                    .layers[0]
                    .equal(visible_part(images, regions)
                               .layers[0]
                               .narrow(0,
                                       i == 0   ? 0
                                       : i == 1 ? 4
                                                : 6,
                                       regions.counts[static_cast<std::size_t>(i)])));
    first += count;
  }
  EXPECT_EQ(all.targets, 9);
  EXPECT_NEAR(all.loss.item<double>(), sum / 9, 1e-5);
  EXPECT_NEAR(all.accuracy, right / 9, 1e-12);
}

TEST(SplitAnswer, KeepsOrderAndLeavesSomethingToSay) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const ForcedRow row = split_answer({{5}, {6, 7, 2}, {6, 7, 2}}, seed);
    EXPECT_TRUE(row.read == std::vector<std::int64_t>({6, 7, 2}) ||
                row.read == std::vector<std::int64_t>({7, 2}));
    EXPECT_EQ(row.read, row.targets);
    EXPECT_EQ(row.prompt.size() + row.read.size(), 4U);
  }
  EXPECT_THAT(split_answer({{5}, {2}, {2}}, 1).read, ElementsAre(2));
}

TEST(MaskAnswer, AsksForWhatItHides) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const ForcedRow row = mask_answer({{5}, {6, 7, 2}, {6, 7, 2}}, 0, seed);
    int hidden = 0;
    for (std::size_t t = 0; t < 3; ++t) {
      const std::int64_t truth = std::vector<std::int64_t>{6, 7, 2}[t];
      const bool masked = row.read[t] == 0;
      hidden += masked;
      EXPECT_EQ(row.targets[t], masked ? truth : kIgnoredLabel);
      EXPECT_EQ(row.read[t], masked ? 0 : truth);
    }
    EXPECT_GE(hidden, 1);
    EXPECT_THAT(row.prompt, ElementsAre(5));
  }
}

}  // namespace
}  // namespace blip2

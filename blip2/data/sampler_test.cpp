#include "blip2/data/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;

SamplerOptions options_of(std::int64_t batch_size, std::uint64_t seed = 1) {
  SamplerOptions options;
  options.batch_size = batch_size;
  options.seed = seed;
  return options;
}

TEST(SamplerTest, EachItemComesOnceAnEpochAcrossBatches) {
  Sampler sampler({{10, 0}}, options_of(4));
  std::vector<std::int64_t> stream;
  for (std::int64_t step = 0; step < 5; ++step) {
    for (const std::int64_t item : sampler.batch(step)) stream.push_back(item);
  }
  for (int epoch = 0; epoch < 2; ++epoch) {
    const std::set<std::int64_t> seen(stream.begin() + 10 * epoch,
                                      stream.begin() + 10 * epoch + 10);
    EXPECT_EQ(seen.size(), 10u);
  }
  EXPECT_FALSE(std::equal(stream.begin(), stream.begin() + 10, stream.begin() + 10));
  EXPECT_DOUBLE_EQ(sampler.epoch(5), 2.0);
}

TEST(SamplerTest, ABatchIsAFunctionOfSeedAndStep) {
  SamplerOptions options = options_of(8);
  for (std::int32_t i = 0; i < 100; ++i) options.lengths.push_back(i % 7);
  for (std::int64_t i = 0; i < 100; ++i) options.distinct.push_back(i / 2);
  for (const bool composed : {false, true}) {
    const SamplerOptions used = composed ? options : options_of(8);
    Sampler forward({{60, 3}, {40, 1}}, used), backward({{60, 3}, {40, 1}}, used);
    std::map<std::int64_t, std::vector<std::int64_t>> batches;
    for (std::int64_t step = 0; step < 400; ++step) batches[step] = forward.batch(step);
    for (std::int64_t step = 399; step >= 0; --step) EXPECT_EQ(backward.batch(step), batches[step]);
    SamplerOptions other = used;
    other.seed = 2;
    EXPECT_NE(Sampler({{60, 3}, {40, 1}}, other).batch(0), batches[0]);
  }
}

TEST(SamplerTest, WeightsAreKeptExactly) {
  Sampler sampler({{5, 0.7}, {1000, 0.3}}, options_of(50));
  std::int64_t of_first = 0;
  std::map<std::int64_t, int> seen;
  for (std::int64_t step = 0; step < 20; ++step) {
    for (const std::int64_t item : sampler.batch(step)) {
      of_first += item < 5;
      seen[item]++;
    }
  }
  EXPECT_EQ(of_first, 700);
  for (std::int64_t item = 0; item < 5; ++item) EXPECT_EQ(seen[item], 140);
  for (std::int64_t item = 5; item < 1005; ++item) EXPECT_LE(seen[item], 1);
}

TEST(SamplerTest, GroupsByLengthWithoutLosingItems) {
  SamplerOptions options = options_of(10);
  options.window = 10;
  for (std::int32_t i = 0; i < 100; ++i) options.lengths.push_back(i / 10);
  Sampler sampler({{100, 0}}, options);
  std::set<std::int64_t> seen;
  std::vector<std::int64_t> firsts;
  for (std::int64_t step = 0; step < 10; ++step) {
    const auto batch = sampler.batch(step);
    for (const std::int64_t item : batch) {
      EXPECT_EQ(item / 10, batch[0] / 10);
      seen.insert(item);
    }
    firsts.push_back(batch[0] / 10);
  }
  EXPECT_EQ(seen.size(), 100u);
  EXPECT_FALSE(std::is_sorted(firsts.begin(), firsts.end()));
}

TEST(SamplerTest, KeepsOnePictureOutOfABatch) {
  SamplerOptions options = options_of(8);
  for (std::int64_t i = 0; i < 128; ++i) options.distinct.push_back(i / 4);
  Sampler sampler({{128, 0}}, options);
  std::multiset<std::int64_t> all;
  int repeated = 0;
  for (std::int64_t step = 0; step < 16; ++step) {
    std::set<std::int64_t> pictures;
    for (const std::int64_t item : sampler.batch(step)) {
      all.insert(item);
      repeated += !pictures.insert(item / 4).second;
    }
  }
  EXPECT_EQ(std::set<std::int64_t>(all.begin(), all.end()).size(), 128u);
  EXPECT_LE(repeated, 8);  // only where the window's last batches leave no choice

  options.distinct.assign(128, 0);
  EXPECT_EQ(Sampler({{128, 0}}, options).batch(3).size(), 8u);
}

TEST(SamplerTest, RefusesWhatMakesNoSense) {
  EXPECT_THROW(Sampler({}, options_of(1)), Error);
  EXPECT_THROW(Sampler({{0, 0}}, options_of(1)), Error);
  EXPECT_THROW(Sampler({{3, 0}}, options_of(0)), Error);
  EXPECT_THROW(Sampler({{3, 1}, {3, 0}}, options_of(1)), Error);
  EXPECT_THROW(Sampler({{3, -1}, {3, 1}}, options_of(1)), Error);
  SamplerOptions options = options_of(1);
  options.lengths = {1, 2};
  EXPECT_THROW(Sampler({{3, 0}}, options), Error);
}

TEST(SequentialBatchesTest, LastOneMayBeSmaller) {
  EXPECT_THAT(sequential_batches(5, 2),
              ElementsAre(ElementsAre(0, 1), ElementsAre(2, 3), ElementsAre(4)));
  EXPECT_TRUE(sequential_batches(0, 2).empty());
}

}  // namespace
}  // namespace blip2

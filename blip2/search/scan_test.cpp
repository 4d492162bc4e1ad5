#include "blip2/search/scan.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "blip2/base/error.h"
#include "blip2/search/code_layout_internal.h"
#include "blip2/search/scan_kernels_internal.h"
#include "blip2/search/test_vectors.h"

namespace blip2 {
namespace {

// Pictures in memory, as a part.
struct Pictures {
  Pictures(const VectorShape shape, const std::vector<float>& vectors, const Basis& by)
      : basis(by) {
    const CodeSizes sizes = code_sizes(shape);
    const auto one = static_cast<std::size_t>(shape.queries * shape.width);
    count = vectors.size() / one;
    heads.resize(count * sizes.head);
    bodies.resize(count * sizes.body);
    for (std::size_t i = 0; i < count; ++i) {
      error = std::max(error, encode(basis, std::span(vectors).subspan(i * one, one),
                                     std::span(heads).subspan(i * sizes.head, sizes.head),
                                     std::span(bodies).subspan(i * sizes.body, sizes.body)));
    }
    wanted.assign(count / 64 + 1, ~std::uint64_t{0});
  }
  CodePart part() const { return {&basis, heads, bodies, wanted}; }

  Basis basis;
  std::size_t count = 0;
  float error = 0;
  std::vector<std::byte> heads, bodies;
  std::vector<std::uint64_t> wanted;
};

bool same(const std::vector<Hit>& a, const std::vector<Hit>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Hit& x, const Hit& y) {
    return x.part == y.part && x.row == y.row && x.score == y.score &&
           x.term_scores == y.term_scores;
  });
}

TEST(Scan, ByHand) {
  // Three pictures of two vectors; the text is the first axis.
  const VectorShape shape{2, 2};
  const std::vector<float> vectors{1, 0, 0, 1, 0.6f, 0.8f, 0, 1, -1, 0, 0, -1};
  const Pictures pictures(shape, vectors, Basis::fit({2, 2}, std::vector<float>{1, 0, 0, 1}));
  const SearchTerm text{{1, 0}, 1};
  const CodePart part = pictures.part();
  for (const ScanWay way : {ScanWay::kPruned, ScanWay::kFull}) {
    const auto hits = best_pictures(std::span(&part, 1), std::span(&text, 1), 2, 1, way);
    ASSERT_EQ(hits.size(), 2u);
    EXPECT_EQ(hits[0].row, 0u);
    EXPECT_NEAR(hits[0].score, 1, 0.01);
    EXPECT_EQ(hits[1].row, 1u);
    EXPECT_NEAR(hits[1].score, 0.6, 0.01);
  }
  // The mean over the cosines of vectors of the same query: (0.6 + 1) / 2.
  const SearchTerm picture{{1, 0, 0, 1}, 2};
  const auto hits = best_pictures(std::span(&part, 1), std::span(&picture, 1), 9, 1);
  ASSERT_EQ(hits.size(), 3u);
  EXPECT_NEAR(hits[1].term_scores[0], 0.8, 0.01);
  EXPECT_NEAR(hits[1].score, 1.6, 0.02);
  EXPECT_NEAR(hits[2].score, -2, 0.02);
}

struct Case {
  VectorShape shape;
  std::size_t count;
};

class Both : public testing::TestWithParam<Case> {};

TEST_P(Both, WaysGiveTheSameHits) {
  const auto [shape, count] = GetParam();
  const auto width = static_cast<std::size_t>(shape.width);
  auto vectors = random_vectors(shape, count, 3);
  // Ties: the second half has the pictures of the first.
  std::copy(vectors.begin(), vectors.begin() + static_cast<std::ptrdiff_t>(vectors.size() / 4),
            vectors.begin() + static_cast<std::ptrdiff_t>(vectors.size() / 2));
  const auto others = random_vectors(shape, count / 3 + 1, 4);
  Pictures first(shape, vectors, Basis::fit(shape, vectors));
  Pictures second(shape, others, Basis::fit(shape, others));
  for (std::size_t i = 0; i < count; i += 3) first.wanted[i / 64] &= ~(std::uint64_t{1} << i % 64);
  const std::vector<CodePart> parts{first.part(), second.part()};
  const auto queries = random_vectors(shape, 6, 5);
  const auto text = [&](std::size_t i, float weight) {
    return SearchTerm{{queries.begin() + static_cast<std::ptrdiff_t>(i * width),
                       queries.begin() + static_cast<std::ptrdiff_t>((i + 1) * width)},
                      weight};
  };
  const std::size_t one = width * static_cast<std::size_t>(shape.queries);
  const SearchTerm picture{{vectors.begin(), vectors.begin() + static_cast<std::ptrdiff_t>(one)},
                           0.7f};
  const std::vector<std::vector<SearchTerm>> searches{{text(0, 1)},
                                                      {text(1, -2)},
                                                      {picture},
                                                      {text(2, 1), text(3, -0.5f), picture},
                                                      {{picture.vectors, -1}},
                                                      {{std::vector<float>(width), 1}}};
  for (const auto& terms : searches) {
    for (const std::size_t top : {std::size_t{1}, std::size_t{10}, 2 * count}) {
      const auto full = best_pictures(parts, terms, top, 1, ScanWay::kFull);
      for (const std::size_t threads : {1, 2, 4}) {
        EXPECT_TRUE(same(best_pictures(parts, terms, top, threads), full));
      }
      EXPECT_TRUE(std::none_of(full.begin(), full.end(),
                               [](const Hit& hit) { return hit.part == 0 && hit.row % 3 == 0; }));
      EXPECT_EQ(full.size(), std::min(top, count - (count + 2) / 3 + count / 3 + 1));
    }
    EXPECT_TRUE(best_pictures(parts, terms, 0, 2).empty());
    const auto all = all_scores(parts[1], terms, 2);
    const auto best = best_pictures(std::span(&parts[1], 1), terms, 1, 1);
    EXPECT_EQ(*std::max_element(all.begin(), all.end()), best[0].score);
  }
}
INSTANTIATE_TEST_SUITE_P(Scan, Both,
                         testing::Values(Case{{1, 8}, 40}, Case{{2, 17}, 300}, Case{{3, 33}, 700},
                                         Case{{8, 64}, 5000}, Case{{32, 256}, 400},
                                         Case{{5, 1024}, 60}));

TEST(Scan, ScoresAreCosinesUpToTheError) {
  const VectorShape shape{4, 64};
  const auto vectors = random_vectors(shape, 200, 6), texts = random_vectors({1, 64}, 20, 7);
  const Pictures pictures(shape, vectors, Basis::fit(shape, vectors));
  for (std::size_t t = 0; t < 20; ++t) {
    const SearchTerm term{{texts.begin() + static_cast<std::ptrdiff_t>(t * 64),
                           texts.begin() + static_cast<std::ptrdiff_t>(t * 64 + 64)},
                          1};
    const auto scores = all_scores(pictures.part(), std::span(&term, 1), 1);
    for (std::size_t i = 0; i < 200; ++i) {
      double best = -2;
      for (std::size_t q = 0; q < 4; ++q) {
        double sum = 0;
        for (std::size_t d = 0; d < 64; ++d)
          sum += double{term.vectors[d]} * vectors[(i * 4 + q) * 64 + d];
        best = std::max(best, sum);
      }
      EXPECT_NEAR(scores[i], best, pictures.error);
    }
  }
}

TEST(Scan, WrongShapesAreRefused) {
  const VectorShape shape{2, 4};
  const auto vectors = random_vectors(shape, 3, 8);
  const Pictures pictures(shape, vectors, Basis::fit(shape, vectors));
  const CodePart part = pictures.part();
  for (const std::size_t size : {0, 3, 5, 7, 9}) {
    const SearchTerm term{std::vector<float>(size, 0.1f), 1};
    EXPECT_THROW(best_pictures(std::span(&part, 1), std::span(&term, 1), 1, 1), Error);
  }
  for (const SearchTerm& broken : {SearchTerm{{NAN, 0, 0, 0}, 1}, SearchTerm{{1, 0, 0, 0}, NAN}}) {
    EXPECT_THROW(best_pictures(std::span(&part, 1), std::span(&broken, 1), 1, 1), Error);
  }
  CodePart short_part = part;
  short_part.wanted = {};
  const SearchTerm text{{1, 0, 0, 0}, 1};
  EXPECT_THROW(best_pictures(std::span(&short_part, 1), std::span(&text, 1), 1, 1), Error);
  EXPECT_THROW(best_pictures(std::span(&part, 1), {}, 1, 1), Error);
}

// Two lanes of a head and a body of 32 numbers.
TEST(ScanKernels, ByHand) {
  const CodeLayout layout({2, 32});
  std::vector<std::byte> head(layout.head);
  head[layout.number(0, 0)] = std::byte{3};
  head[layout.number(15, 0)] = std::byte(-2);
  head[layout.number(1, 1)] = std::byte{5};
  head[layout.length(0)] = std::byte{4};
  head[layout.length(1)] = std::byte{200};
  HeadQuery query{layout.lanes, false, std::vector<std::int16_t>(16 * 8),
                  std::vector<std::int32_t>(8), std::vector<std::int32_t>(8, -1000000)};
  query.base[0] = query.base[1] = 0;
  for (const std::size_t d : {0, 1, 15}) query.whole[layout.number(d, 0)] = 100;
  query.whole[layout.number(1, 1)] = -10;
  query.reach[0] = 7;
  query.reach[1] = 1;
  for (const auto& set : runnable_scan_kernels()) {
    ScoreInterval out;
    query.sums = false;
    set.kernels.intervals(head.data(), 1, query, &out);  // [100 - 28, 100 + 28], [-250, 150]
    EXPECT_EQ(out.low, 72) << set.name;
    EXPECT_EQ(out.high, 150) << set.name;
    HeadQuery sums = query;
    sums.sums = true;
    std::fill(sums.base.begin(), sums.base.end(), 0);
    set.kernels.intervals(head.data(), 1, sums, &out);
    EXPECT_EQ(out.low, 72 - 250) << set.name;
    EXPECT_EQ(out.high, 128 + 150) << set.name;
  }
}

TEST(ScanKernels, InstructionSetsGiveTheSameNumbers) {
  const auto sets = runnable_scan_kernels();
  std::mt19937 generator(9);
  const auto whole_number = [&](int most) {
    return static_cast<int>(generator() % static_cast<unsigned>(2 * most + 1)) - most;
  };
  for (const VectorShape shape : {VectorShape{1, 8}, VectorShape{11, 200}, VectorShape{32, 256},
                                  VectorShape{9, 1024}, VectorShape{3, 45}}) {
    const CodeLayout layout(shape);
    constexpr std::size_t kHeads = 20;
    std::vector<std::byte> heads(kHeads * layout.head);
    for (auto& byte : heads) byte = static_cast<std::byte>(generator() % 256);
    std::vector<std::int8_t> codes(layout.body);
    for (auto& code : codes) code = static_cast<std::int8_t>(whole_number(127));
    std::vector<std::int16_t> whole(layout.body);
    for (auto& k : whole) k = static_cast<std::int16_t>(whole_number(32767));
    HeadQuery query{layout.lanes, false, {}, {}, std::vector<std::int32_t>(layout.lanes)};
    for (std::size_t i = 0; i < 16 * layout.lanes; ++i) {
      query.whole.push_back(static_cast<std::int16_t>(whole_number(32767)));
    }
    for (std::size_t i = 0; i < layout.lanes; ++i) query.reach.push_back(whole_number(900000));
    const auto numbers = [&](const ScanKernels& kernels) {
      std::vector<std::int64_t> out;
      for (const bool sums : {false, true}) {
        query.sums = sums;
        std::vector<ScoreInterval> intervals(kHeads);
        kernels.intervals(heads.data(), kHeads, query, intervals.data());
        for (const ScoreInterval& one : intervals) out.insert(out.end(), {one.low, one.high});
      }
      std::vector<std::int32_t> some(layout.lanes);
      kernels.lane_highs(heads.data(), query, some.data());
      out.insert(out.end(), some.begin(), some.end());
      for (const std::size_t step : {std::size_t{0}, layout.stride}) {
        kernels.products(codes.data(), layout.queries, layout.stride, whole.data(), step,
                         some.data());
        out.insert(out.end(), some.begin(), some.end());
      }
      return out;
    };
    const auto width = layout.width;
    const auto rows = random_vectors({1, shape.width}, width, 10);
    const auto vectors = random_vectors(shape, 1, 11);
    const auto rotated = [&](const ScanKernels& kernels) {
      std::vector<float> out(vectors.size());
      kernels.rotate(rows.data(), vectors.data(), layout.queries, width, out.data());
      return out;
    };
    const auto plain = numbers(sets[0].kernels);
    for (const auto& set : sets) {
      EXPECT_EQ(numbers(set.kernels), plain) << set.name;
      EXPECT_EQ(rotated(set.kernels), rotated(sets[0].kernels)) << set.name;
    }
  }
}

}  // namespace
}  // namespace blip2

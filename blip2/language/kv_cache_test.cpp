// The cache against plain lists of each row's tokens.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "blip2/base/random.h"
#include "blip2/language/kv_cache_internal.h"

namespace blip2 {
namespace {

using Int = std::int64_t;
using Rows = std::vector<std::vector<float>>;  // the tokens of each row, as numbers

constexpr KvShape kShape{.layers = 2, .heads = 3, .head_dim = 4, .element_bytes = sizeof(float)};

// What the cache keeps of a token in one place: other places have other numbers.
float element(float token, Int layer, Int head, bool value, Int d) {
  const Int place = ((layer * kShape.heads + head) * 2 + (value ? 1 : 0)) * kShape.head_dim + d;
  return 1000 * token + static_cast<float>(place);
}

void write(KvCache& cache, Int row, float token) {
  cache.reserve(row, 1);
  const Int at = (cache.length(row) - cache.shared(row)) * kShape.head_dim;
  for (Int layer = 0; layer < kShape.layers; ++layer) {
    for (Int head = 0; head < kShape.heads; ++head) {
      for (Int d = 0; d < kShape.head_dim; ++d) {
        cache.keys<float>(row, layer, head)[at + d] = element(token, layer, head, false, d);
        cache.values<float>(row, layer, head)[at + d] = element(token, layer, head, true, d);
      }
    }
  }
  cache.extend(row, 1);
}

// Whether the lists hold the tokens, keys and values, in their order.
bool holds(const std::vector<CachedKeys<float>>& lists, const std::vector<float>& tokens, Int layer,
           Int head) {
  std::size_t t = 0;
  for (const CachedKeys<float>& list : lists) {
    for (Int i = 0; i < list.count * kShape.head_dim; ++i) {
      const Int d = i % kShape.head_dim;
      if (t == tokens.size() || list.keys[i] != element(tokens[t], layer, head, false, d) ||
          list.values[i] != element(tokens[t], layer, head, true, d)) {
        return false;
      }
      t += d + 1 == kShape.head_dim ? 1 : 0;
    }
  }
  return t == tokens.size();
}

void expect_rows(const KvCache& cache, const Rows& rows) {
  ASSERT_EQ(cache.rows(), std::ssize(rows));
  std::vector<CachedKeys<float>> lists;
  for (Int row = 0; row < cache.rows(); ++row) {
    const auto& tokens = rows[static_cast<std::size_t>(row)];
    ASSERT_EQ(cache.length(row), std::ssize(tokens));
    for (Int place = 0; place < kShape.layers * kShape.heads; ++place) {
      const Int layer = place / kShape.heads, head = place % kShape.heads;
      cache.list<float>(row, layer, head, cache.length(row) - cache.shared(row), lists);
      EXPECT_TRUE(holds(lists, tokens, layer, head)) << "row " << row << ", place " << place;
    }
  }
}

// Rows of 40 tokens that go on from rows drawn at random, as those of beam search do.
void expect_history(Int prompt, bool sharing) {
  KvCache cache(kShape, 4, sharing);
  Random random(7);
  Rows rows(3);
  float next = 0;
  cache.add_rows(3);
  for (Int step = 0; step < 40; ++step) {
    for (std::size_t row = 0; row < rows.size(); ++row) {
      for (Int i = 0; i < (step == 0 ? prompt : 1); ++i) {
        write(cache, static_cast<Int>(row), next);
        rows[row].push_back(next++);
      }
    }
    expect_rows(cache, rows);
    std::vector<std::int32_t> sources;
    Rows continued;
    for (std::size_t row = 0; row < (step % 7 == 6 ? 5 : 3); ++row) {
      const double drawn = random.uniform() * static_cast<double>(rows.size());
      sources.push_back(
          std::min(static_cast<std::int32_t>(drawn), static_cast<std::int32_t>(rows.size()) - 1));
      continued.push_back(rows[static_cast<std::size_t>(sources.back())]);
    }
    cache.select(sources);
    rows = continued;
    expect_rows(cache, rows);
  }
}

TEST(KvCache, RowsKeepTheirHistoriesWhateverTheyShare) {
  for (const Int prompt : {1, 7, 20}) {
    expect_history(prompt, true);
    expect_history(prompt, false);
  }
}

TEST(KvCache, RowsThatAreRepeatedShareAllButAFewTokens) {
  KvCache cache(kShape, 64);
  cache.add_rows(1);
  Rows rows(1);
  for (int i = 0; i < 30; ++i) {
    write(cache, 0, static_cast<float>(i));
    rows[0].push_back(static_cast<float>(i));
  }
  cache.select(std::vector<std::int32_t>{0, 0});
  EXPECT_EQ(cache.shared(0), 30);
  rows.push_back(rows[0]);
  for (Int i = 30; i < 50; ++i) {
    for (const Int row : {0, 1}) {
      const float token = static_cast<float>(i + 100 * row);
      write(cache, row, token);
      rows[static_cast<std::size_t>(row)].push_back(token);
    }
    cache.select(std::vector<std::int32_t>{1, 1});
    rows[0] = rows[1];
    EXPECT_LE(cache.length(0) - cache.shared(0), 8);
    expect_rows(cache, rows);
  }
  cache.own_all(0);
  EXPECT_EQ(cache.shared(0), 0);
  expect_rows(cache, rows);
}

}  // namespace
}  // namespace blip2

#include "blip2/search/part_scan_internal.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

constexpr std::size_t kWord = 64;  // pictures of a word of bits

double factor(const ScanQuery& query) {
  return query.weight() * query.unit();
}

}  // namespace

// The sums are those of score() with the ends of intervals in place of values. Each product and
// each sum of f64, and the rounding to f32, grow or stay when the value grows (with a positive
// factor) or shrinks (with a negative one), so the result is never less than score().
void bounds_of_heads(std::span<const ScanQuery> queries, const std::byte* heads, std::size_t count,
                     float* out) {
  std::array<ScoreInterval, kWord> intervals;
  std::array<double, kWord> sums{};
  for (const ScanQuery& query : queries) {
    query.intervals(heads, count, intervals.data());
    const double unit = factor(query);
    for (std::size_t i = 0; i < count; ++i) {
      sums[i] += unit * static_cast<double>(unit < 0 ? intervals[i].low : intervals[i].high);
    }
  }
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<float>(sums[i]);
}

PartScan::PartScan(const CodePart& part, std::span<const SearchTerm> terms)
    : part_(part), layout_(part.basis->shape()), pictures_(part.pictures()) {
  need(part.bodies.size() == pictures_ * layout_.body &&
           part.heads.size() == pictures_ * layout_.head &&
           part.wanted.size() >= (pictures_ + kWord - 1) / kWord,
       "a part's heads, bodies and bits are of different numbers of pictures", "search");
  for (const SearchTerm& term : terms) queries_.emplace_back(term, *part.basis);
}

float PartScan::score(std::size_t row) const {
  double sum = 0;
  for (const ScanQuery& query : queries_) {
    sum += factor(query) * static_cast<double>(query.value(body(row)));
  }
  return static_cast<float>(sum);
}

float PartScan::score_from(float least, std::size_t row) const {
  const ScanQuery& query = queries_.front();
  const double unit = factor(query);
  if (queries_.size() > 1 || !query.is_text() || !(unit > 0) || !std::isfinite(least)) {
    return score(row);
  }
  // A little less than the smallest value whose product, rounded to f32, is `least`.
  constexpr double most = std::numeric_limits<std::int32_t>::max();
  const double from = (double{least} - std::abs(double{least}) * 1e-6) / unit - 2;
  const double value = static_cast<double>(query.value_from(
      static_cast<std::int64_t>(std::clamp(from, -most, most)), head(row), body(row)));
  return static_cast<float>(0 + unit * value);
}

std::vector<float> PartScan::term_scores(std::size_t row) const {
  std::vector<float> scores;
  for (const ScanQuery& query : queries_) {
    scores.push_back(
        static_cast<float>(query.unit() * static_cast<double>(query.value(body(row)))));
  }
  return scores;
}

void PartScan::bounds(std::size_t first, std::size_t last, float* out) const {
  for (; first < last; first += kWord, out += kWord) {
    const std::size_t count = std::min(kWord, last - first);
    const std::uint64_t word = part_.wanted[first / kWord];
    if (word == 0) {
      std::fill_n(out, count, kNever);
      continue;
    }
    bounds_of_heads(queries_, head(first), count, out);
    for (std::size_t i = 0; i < count; ++i) {
      if ((word >> i & 1) == 0) out[i] = kNever;
    }
  }
}

}  // namespace blip2

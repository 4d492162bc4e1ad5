#include "blip2/search/scan_query_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

constexpr std::size_t kMostLanes = 1024;
constexpr std::int32_t kNoVector = -1'900'000'000;

// The unit by which vectors x (numbers times steps) of lengths up to `length` (without steps)
// become whole numbers k = round(x / unit), such that
//   |k| <= 32767,
//   sum |128 k| <= 2^30 (rounding adds at most 1/2 to each |k|), and
//   |k / step| <= 2 |x / step| / unit <= 2^28 as a vector, since |round(y)| <= 2 |y|.
double unit_for(std::span<const double> x, std::size_t stride, double length) {
  constexpr double most_sum = 8388608;  // 2^30 / 128
  double largest = 0, sum = 0;
  for (std::size_t at = 0; at < x.size(); at += stride) {
    double sum_of_one = 0;
    for (std::size_t d = 0; d < stride; ++d) {
      largest = std::max(largest, std::abs(x[at + d]));
      sum_of_one += std::abs(x[at + d]);
    }
    sum = std::max(sum, sum_of_one);
  }
  const double unit =
      std::max({largest / 32767, sum / (most_sum - static_cast<double>(stride)), length * 0x1p-27});
  return unit > 0 ? unit : 1;
}

double longest(std::span<const float> vectors, std::size_t width) {
  double most = 0;
  for (std::size_t at = 0; at < vectors.size(); at += width) {
    double sum = 0;
    for (const float value : vectors.subspan(at, width)) sum += double{value} * value;
    most = std::max(most, sum);
  }
  return std::sqrt(most);
}

void check(const SearchTerm& term, const CodeLayout& layout) {
  if (term.vectors.size() != layout.width && term.vectors.size() != layout.queries * layout.width) {
    throw Error(fmt::format(
        "expected a text's vector of {} numbers or a picture's {} vectors, got {} numbers",
        layout.width, layout.queries, term.vectors.size()));
  }
  const auto fits = [](float value) { return std::abs(value) <= 1e6f; };
  need(std::all_of(term.vectors.begin(), term.vectors.end(), fits),
       "expected a term's unit vectors, got a number that is not finite or too large", "search");
  need(fits(term.weight), "expected a weight between -1000000 and 1000000", "search");
}

}  // namespace

ScanQuery::ScanQuery(const SearchTerm& term, const Basis& basis)
    : layout_(basis.shape()), kernels_(&scan_kernels()), weight_(term.weight) {
  check(term, layout_);
  head_.sums = term.vectors.size() != layout_.width;
  const std::vector<float> rotated = basis.rotate(term.vectors);
  const std::vector<double> exact = times_steps(rotated, basis.steps());
  unit_ = unit_for(exact, layout_.stride, longest(rotated, layout_.width));
  whole_.resize(exact.size());
  std::transform(exact.begin(), exact.end(), whole_.begin(), [this](double value) {
    return static_cast<std::int16_t>(std::nearbyint(value / unit_));
  });
  prepare_head(basis);
  if (head_.sums) unit_ /= static_cast<double>(layout_.queries);  // the mean of the cosines
}

// The rows of [n, E] times the steps: [n, stride].
std::vector<double> ScanQuery::times_steps(std::span<const float> rotated,
                                           std::span<const float> steps) const {
  std::vector<double> exact(rotated.size() / layout_.width * layout_.stride);
  for (std::size_t i = 0; i < rotated.size(); ++i) {
    const std::size_t d = i % layout_.width;
    exact[i / layout_.width * layout_.stride + d] = double{rotated[i]} * steps[d];
  }
  return exact;
}

// A picture's vector with codes c has the value sum of k c = that over the head + that over the
// rest. The first is computed exactly. By Cauchy and Schwarz,
//   |sum over the rest of (k / step) (c step)| <= |k / step| |c step|,
// and the head has the last factor as `length` units, rounded up: the sum over the rest is at most
// length * reach, in whole numbers, if reach >= |k / step| kLengthUnit. As k and c are those of the
// sum itself, nothing that was rounded or clamped before can break this.
void ScanQuery::prepare_head(const Basis& basis) {
  head_.lanes = layout_.lanes;
  head_.whole.assign(CodeLayout::kHeadNumbers * layout_.lanes, 0);
  head_.reach.assign(layout_.lanes, 0);
  head_.base.assign(layout_.lanes, head_.sums ? 0 : kNoVector);
  for (std::size_t q = 0; q < layout_.queries; ++q) {
    const std::int16_t* k = whole_.data() + (head_.sums ? q * layout_.stride : 0);
    head_.base[q] = 0;
    for (std::size_t d = 0; d < std::min(layout_.width, CodeLayout::kHeadNumbers); ++d) {
      head_.whole[layout_.number(d, q)] = k[d];
    }
    head_.reach[q] = q > 0 && !head_.sums ? head_.reach[0] : reach(k, basis.steps());
  }
}

std::int32_t ScanQuery::reach(const std::int16_t* k, std::span<const float> steps) const {
  double sum = 0;
  for (std::size_t d = CodeLayout::kHeadNumbers; d < layout_.width; ++d) {
    const double value = k[d] / double{steps[d]};
    sum += value * value;
  }
  return static_cast<std::int32_t>(
      std::ceil(std::sqrt(sum) * (1 + 1e-9) * CodeLayout::kLengthUnit));
}

std::int64_t ScanQuery::value(const std::byte* body) const {
  std::array<std::int32_t, kMostLanes> each;
  kernels_->products(reinterpret_cast<const std::int8_t*>(body), layout_.queries, layout_.stride,
                     whole_.data(), head_.sums ? layout_.stride : 0, each.data());
  const auto end = each.begin() + static_cast<std::ptrdiff_t>(layout_.queries);
  if (!head_.sums) return *std::max_element(each.begin(), end);
  std::int64_t sum = 0;
  for (auto at = each.begin(); at != end; ++at) sum += *at;
  return sum;
}

std::int64_t ScanQuery::value_from(std::int64_t least, const std::byte* head,
                                   const std::byte* body) const {
  std::array<std::int32_t, kMostLanes> highs;
  kernels_->lane_highs(head, head_, highs.data());
  std::int64_t best = std::numeric_limits<std::int32_t>::min();
  const auto* codes = reinterpret_cast<const std::int8_t*>(body);
  for (std::size_t q = 0; q < layout_.queries; ++q) {
    if (highs[q] < least) continue;
    std::int32_t one = 0;
    kernels_->products(codes + q * layout_.stride, 1, layout_.stride, whole_.data(), 0, &one);
    best = std::max<std::int64_t>(best, one);
  }
  return best;
}

}  // namespace blip2

#include "blip2/search/scan_query_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "blip2/base/error.h"
#include "blip2/search/scan_kernels_internal.h"

namespace blip2 {
namespace {

constexpr double kMostWhole = 16383;  // of k: two products of k and a code fit 32 bits twice over
constexpr std::size_t kMostLanes = 1024;

}  // namespace

ScanQuery::ScanQuery(const SearchTerm& term, const Basis& basis)
    : layout_(basis.shape()),
      is_picture_(term.vectors.size() != layout_.width || layout_.queries == 1),
      weight_(term.weight) {
  const std::size_t count = is_picture_ ? layout_.queries : 1;
  if (term.vectors.size() != count * layout_.width) {
    throw Error(
        fmt::format("expected a text's vector of {} numbers or a picture's {} vectors, got {} "
                    "numbers",
                    layout_.width, layout_.queries, term.vectors.size()));
  }
  need(std::isfinite(weight_), "expected a weight that is a number", "search");
  std::vector<double> exact;  // [count, stride]
  for (std::size_t q = 0; q < count; ++q) {
    add_vector(std::span(term.vectors).subspan(q * layout_.width, layout_.width), basis, exact);
  }
  double largest = 0, sum = 0;
  for (std::size_t q = 0; q < count; ++q) {
    double sum_of_one = 0;
    for (std::size_t d = 0; d < layout_.stride; ++d) {
      const double value = std::abs(exact[q * layout_.stride + d]);
      need(std::isfinite(value), "a term's vector holds a number that is not finite", "search");
      largest = std::max(largest, value);
      sum_of_one += value;
    }
    sum = std::max(sum, sum_of_one);
  }
  // No sum of products with codes passes 2^31: rounding adds at most 1/2 to each k.
  constexpr double kMostSum = 2147483647.0 / 127;
  const double room = kMostSum - 0.5 * static_cast<double>(layout_.stride);
  scale_ = std::max({largest / kMostWhole, sum / room, 1e-30});
  whole_.resize(exact.size());
  std::transform(exact.begin(), exact.end(), whole_.begin(), [this](double value) {
    return static_cast<std::int16_t>(std::nearbyint(value / scale_));
  });
  prepare_bounds(basis);
}

void ScanQuery::add_vector(std::span<const float> vector, const Basis& basis,
                           std::vector<double>& exact) {
  const std::vector<float> rotated = basis.rotate(vector);
  for (std::size_t d = 0; d < layout_.stride; ++d) {
    exact.push_back(d < rotated.size() ? double{rotated[d]} * basis.steps()[d] : 0);
  }
}

// sum over d of k c = that over the head + that over the rest, and by Cauchy and Schwarz
// |sum over the rest of (k / step) (c step)| <= |k / step| |c step|, whose last factor the head
// has, rounded up. The sums of bound() are in f32: at most kHeadNumbers + Q + 4 roundings of what
// stays below `largest`, each by less than 2^-23 of it; the slack is more.
void ScanQuery::prepare_bounds(const Basis& basis) {
  const float sign = weight_ < 0 ? -1.0f : 1.0f;
  head_.assign(CodeLayout::kHeadNumbers * layout_.lanes, 0);
  reach_.assign(layout_.lanes, 0);
  double largest = 0;
  for (std::size_t q = 0; q < layout_.queries; ++q) {
    const std::int16_t* k = whole_.data() + (is_picture_ ? q * layout_.stride : 0);
    double rest = 0, head = 0;
    for (std::size_t d = 0; d < layout_.width; ++d) {
      const double value = scale_ * k[d];
      if (d < CodeLayout::kHeadNumbers) {
        head_[d * layout_.lanes + q] = static_cast<float>(value);
        head += 127 * std::abs(value);
      } else {
        rest += value / basis.steps()[d] * (value / basis.steps()[d]);
      }
    }
    const double reach = std::sqrt(rest) * (1 + 1e-6) * CodeLayout::kLengthUnit;
    reach_[q] = sign * static_cast<float>(reach);
    largest = std::max(largest, head + reach * std::numeric_limits<std::uint16_t>::max());
  }
  slack_ = static_cast<float>(1.2e-7 * static_cast<double>(layout_.queries + 24) * largest + 1e-9);
}

float ScanQuery::score(const std::byte* body) const {
  const auto* codes = CodeLayout::numbers(body);
  const ScanKernels& kernels = scan_kernels();
  if (!is_picture_) {
    std::int32_t best = std::numeric_limits<std::int32_t>::min();
    for (std::size_t q = 0; q < layout_.queries; ++q) {
      best = std::max(best,
                      kernels.products(codes + q * layout_.stride, whole_.data(), layout_.stride));
    }
    return static_cast<float>(scale_ * best);
  }
  const std::size_t stride = layout_.stride;
  std::int64_t sum = 0;
  for (std::size_t q = 0; q < layout_.queries; ++q) {
    sum += kernels.products(codes + q * stride, whole_.data() + q * stride, stride);
  }
  return static_cast<float>(scale_ * static_cast<double>(sum) /
                            static_cast<double>(layout_.queries));
}

float ScanQuery::bound(const std::byte* head) const {
  float sums[kMostLanes];
  scan_kernels().head_bounds(head, head_.data(), reach_.data(), layout_.lanes, sums);
  float best = sums[0];
  if (is_picture_) {
    best = 0;
    for (std::size_t q = 0; q < layout_.queries; ++q) best += sums[q];
    best /= static_cast<float>(layout_.queries);
  } else {
    for (std::size_t q = 1; q < layout_.queries; ++q) best = std::max(best, sums[q]);
  }
  return weight_ * best + std::abs(weight_) * slack_;
}

}  // namespace blip2

#include "blip2/image/resize_taps_internal.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double support_of(Filter filter) {
  switch (filter) {
    case Filter::box:
      return 0.5;
    case Filter::bilinear:
      return 1.0;
    case Filter::bicubic:
      return 2.0;
    case Filter::lanczos:
      return 3.0;
  }
  throw Error("unknown resampling filter");
}

double weight_at(Filter filter, double x) {
  constexpr double kA = -0.5;  // Keys' cubic
  const double distance = std::abs(x);
  switch (filter) {
    case Filter::box:
      return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    case Filter::bilinear:
      return distance < 1.0 ? 1.0 - distance : 0.0;
    case Filter::bicubic:
      if (distance < 1.0) return ((kA + 2.0) * distance - (kA + 3.0)) * distance * distance + 1;
      if (distance < 2.0) return (((distance - 5) * distance + 8) * distance - 4) * kA;
      return 0.0;
    case Filter::lanczos:
      return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
  }
  return 0.0;
}

// The most bits, up to 22, with which the largest weight fits a signed number of 16.
int bits_for(double largest) {
  int bits = 0;
  while (bits < 22 && static_cast<int>(0.5 + largest * (1 << (bits + 1))) < 1 << 15) ++bits;
  return bits;
}

}  // namespace

TapMaker::TapMaker(const Axis& axis, Filter filter, Resampler resampler)
    : axis_(axis),
      filter_(filter),
      scale_(axis.length / static_cast<double>(axis.out)),
      narrowing_(1.0 / std::max(scale_, 1.0)),
      support_(support_of(filter) * std::max(scale_, 1.0)) {
  constexpr int kPillowBits = 32 - 8 - 2;  // two bits for sums below 0 and above 1
  const auto most = static_cast<std::int64_t>(std::ceil(support_)) * 2 + 1;
  weights_.resize(static_cast<std::size_t>(std::min(most, axis.in)));
  bits_ = resampler == Resampler::pillow ? kPillowBits : bits_for(largest_weight());
}

TapMaker::Span TapMaker::weigh(std::int64_t output) {
  const double centre = axis_.begin + (static_cast<double>(output) + 0.5) * scale_;
  const auto first = std::max<std::int64_t>(static_cast<std::int64_t>(centre - support_ + 0.5), 0);
  const auto end = std::min(static_cast<std::int64_t>(centre + support_ + 0.5), axis_.in);
  const auto count =
      std::min(static_cast<std::size_t>(std::max<std::int64_t>(end - first, 0)), weights_.size());
  double sum = 0.0;
  for (std::size_t t = 0; t < count; ++t) {
    const auto place = static_cast<double>(static_cast<std::int64_t>(t) + first);
    weights_[t] = weight_at(filter_, (place - centre + 0.5) * narrowing_);
    sum += weights_[t];
  }
  if (sum != 0.0) {
    for (std::size_t t = 0; t < count; ++t) weights_[t] /= sum;
  }
  return {first, count};
}

double TapMaker::largest_weight() {
  // Where an axis is enlarged, its first output's largest weight is at least 1 and no other is 2 or
  // more, which settles the bits.
  const std::int64_t outputs = axis_.out > axis_.in ? 1 : axis_.out;
  double largest = 0.0;
  for (std::int64_t i = 0; i < outputs; ++i) {
    const std::size_t count = weigh(i).count;
    for (std::size_t t = 0; t < count; ++t) largest = std::max(largest, weights_[t]);
  }
  return largest;
}

Taps TapMaker::taps(std::int64_t first, std::int64_t count) {
  Taps taps;
  taps.bits = bits_;
  taps.width = static_cast<int>(width());
  taps.weights.resize(static_cast<std::size_t>(count) * width());
  for (std::int64_t i = 0; i < count; ++i) {
    const Span span = weigh(first + i);
    taps.first.push_back(span.first);
    taps.count.push_back(static_cast<int>(span.count));
    std::int32_t* out = taps.weights.data() + static_cast<std::size_t>(i) * width();
    for (std::size_t t = 0; t < span.count; ++t) {
      const double weight = weights_[t] * (1 << bits_);
      out[t] = static_cast<std::int32_t>(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
  }
  return taps;
}

FloatTaps float_taps(std::int64_t in, std::int64_t out, Filter filter) {
  const float scale = static_cast<float>(in) / static_cast<float>(out);
  const float widening = std::max(scale, 1.0f);
  const auto narrowing = static_cast<float>(1.0 / widening);
  const auto support = static_cast<float>(support_of(filter) * widening);
  const auto most = static_cast<std::int64_t>(std::ceil(support)) * 2 + 1;
  FloatTaps taps;
  for (std::int64_t i = 0; i < out; ++i) {
    const auto centre = static_cast<float>(scale * (static_cast<double>(i) + 0.5));
    const auto first = std::max<std::int64_t>(static_cast<std::int64_t>(centre - support + 0.5), 0);
    const auto end = std::min(static_cast<std::int64_t>(centre + support + 0.5), in);
    const std::int64_t count = std::clamp<std::int64_t>(end - first, 0, most);
    float sum = 0;
    for (std::int64_t t = 0; t < count; ++t) {
      const float from_centre = static_cast<float>(t + first) - centre;
      const auto place = static_cast<float>((from_centre + 0.5) * narrowing);
      taps.weights.push_back(static_cast<float>(weight_at(filter, place)));
      sum += taps.weights.back();
    }
    for (std::size_t t = taps.weights.size() - static_cast<std::size_t>(count);
         sum != 0 && t < taps.weights.size(); ++t) {
      taps.weights[t] /= sum;
    }
    taps.first.push_back(first);
    taps.count.push_back(static_cast<std::size_t>(count));
  }
  return taps;
}

}  // namespace blip2

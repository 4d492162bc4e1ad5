#pragma once

#include <cstdint>
#include <vector>

#include "blip2/image/resize.h"

namespace blip2 {

// One axis of a picture that is resized: `length` pixels from `begin`, of `in`, become `out`.
struct Axis {
  std::int64_t in = 0, out = 0;
  double begin = 0, length = 0;
};

// Weights in fixed point: an output is the rounded sum of `count` inputs from `first`, each times
// its weight, over 2^bits.
struct Taps {
  int bits = 0;
  int width = 0;  // weights kept for each output
  std::vector<std::int64_t> first;
  std::vector<int> count;
  std::vector<std::int32_t> weights;  // [outputs, width]

  // The inputs that are read: from first_input() up to, without it, end_input().
  std::int64_t first_input() const { return first.front(); }
  std::int64_t end_input() const { return first.back() + count.back(); }
};

// The weights of an axis, each computed as Pillow does it (precompute_coeffs,
// normalize_coeffs_8bpc), in 22 bits, or as ATen does it for uint8 with antialias, in as many bits
// as let the largest of the axis fit 16.
class TapMaker {
 public:
  TapMaker(const Axis& axis, Filter filter, Resampler resampler);

  // Of `count` outputs from `first`.
  Taps taps(std::int64_t first, std::int64_t count);
  // The weights that one output takes.
  std::size_t width() const { return weights_.size(); }

 private:
  struct Span {
    std::int64_t first;
    std::size_t count;
  };
  Span weigh(std::int64_t output);  // fills weights_
  double largest_weight();

  Axis axis_;
  Filter filter_;
  double scale_, narrowing_, support_;
  std::vector<double> weights_;
  int bits_;
};

}  // namespace blip2

#pragma once

#include <cstdint>
#include <vector>

#include "blip2/image/resize.h"

namespace blip2 {

// One axis of a picture that is resized: of `in` pixels, `length` pixels from `begin` on become
// `out` pixels.
struct Axis {
  std::int64_t in = 0, out = 0;
  double begin = 0, length = 0;
};

// Weights in fixed point: an output is the sum of `count` inputs from `first` on, each times its
// weight, divided by 2^bits and rounded.
struct Taps {
  int bits = 0;
  int width = 0;  // weights kept for each output
  std::vector<std::int64_t> first;
  std::vector<int> count;
  std::vector<std::int32_t> weights;  // [outputs, width]

  // The inputs that are read: [first_input(), end_input()).
  std::int64_t first_input() const { return first.front(); }
  std::int64_t end_input() const { return first.back() + count.back(); }
};

// The weights of an axis, each computed as Pillow does it (precompute_coeffs,
// normalize_coeffs_8bpc), in 22 bits, or as ATen does it for uint8 with antialias, in as many bits
// as let the largest weight of the axis fit 16 bits.
class TapMaker {
 public:
  TapMaker(const Axis& axis, Filter filter, Resampler resampler);

  // The weights of `count` outputs from `first` on.
  Taps taps(std::int64_t first, std::int64_t count);
  // The number of weights kept for each output.
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

// Weights in f32, one output's after another's.
struct FloatTaps {
  std::vector<std::int64_t> first;
  std::vector<std::size_t> count;
  std::vector<float> weights;
};
// All weights of an axis of `in` pixels that become `out`, with the rounding of ATen's in f32,
// which shows where a picture is large.
FloatTaps float_taps(std::int64_t in, std::int64_t out, Filter filter);

// Throws Error if a size is not positive.
void check_sizes(const Image& image, std::int64_t width, std::int64_t height);

}  // namespace blip2

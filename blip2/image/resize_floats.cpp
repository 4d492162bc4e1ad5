#include <algorithm>
#include <vector>

#include "blip2/image/resize.h"
#include "blip2/image/resize_taps_internal.h"

namespace blip2 {
namespace {

// One input row resized to the outputs of `taps`: [width, 3].
void filter_row(const std::uint8_t* row, const FloatTaps& taps, float scale,
                std::vector<float>& out) {
  const float* weight = taps.weights.data();
  for (std::size_t x = 0; x < taps.first.size(); ++x) {
    const std::uint8_t* from = row + 3 * taps.first[x];
    float sums[3] = {};
    for (std::size_t t = 0; t < taps.count[x]; ++t, ++weight, from += 3) {
      for (int c = 0; c < 3; ++c) sums[c] += static_cast<float>(from[c]) * scale * *weight;
    }
    for (std::size_t c = 0; c < 3; ++c) out[3 * x + c] = sums[c];
  }
}

}  // namespace

// Rows are resized anew for each output that reads them, so that the memory is that of the result.
std::vector<float> resize_floats(const Image& image, int width, int height, Filter filter,
                                 double scale) {
  check_sizes(image, width, height);
  const FloatTaps x = float_taps(image.width, width, filter);
  const FloatTaps y = float_taps(image.height, height, filter);
  const auto columns = static_cast<std::size_t>(width), rows = static_cast<std::size_t>(height);
  std::vector<float> values(3 * rows * columns), row(3 * columns), sums(3 * columns);
  const float* weight = y.weights.data();
  for (std::size_t out = 0; out < rows; ++out) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (std::size_t t = 0; t < y.count[out]; ++t, ++weight) {
      const auto place =
          (static_cast<std::size_t>(y.first[out]) + t) * 3 * static_cast<std::size_t>(image.width);
      filter_row(image.rgb.data() + place, x, static_cast<float>(scale), row);
      for (std::size_t i = 0; i < row.size(); ++i) sums[i] += row[i] * *weight;
    }
    for (std::size_t i = 0; i < sums.size(); ++i) {
      values[(i % 3 * rows + out) * columns + i / 3] = sums[i];
    }
  }
  return values;
}

}  // namespace blip2

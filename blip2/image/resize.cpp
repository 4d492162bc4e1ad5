#include "blip2/image/resize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numbers>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/image/codecs.h"

// The two inner loops are compiled for several instruction sets and chosen when the program starts.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define BLIP2_VECTORISED \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), optimize("O3")))
#else
#define BLIP2_VECTORISED
#endif

namespace blip2 {
namespace {

constexpr int kFractionBits = 32 - 8 - 2;  // as Pillow: two bits for sums below 0 and above 1
constexpr int kRows = 16;                  // rows that the horizontal pass treats together

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

// For each output position: the first input position, how many follow, and their weights.
struct Taps {
  int width = 0;  // weights kept for each output position
  std::vector<int> first, count;
  std::vector<std::int32_t> weights;
};

// Pillow's precompute_coeffs and normalize_coeffs_8bpc, with their order of operations.
Taps taps_of(int in_size, float begin, float end, int out_size, Filter filter) {
  const double scale = static_cast<double>(end - begin) / out_size;
  const double widening = std::max(scale, 1.0), narrowing = 1.0 / widening;
  const double support = support_of(filter) * widening;
  Taps taps;
  taps.width = static_cast<int>(std::ceil(support)) * 2 + 1;
  taps.first.resize(static_cast<std::size_t>(out_size));
  taps.count.resize(taps.first.size());
  taps.weights.resize(taps.first.size() * static_cast<std::size_t>(taps.width));
  std::vector<double> weights(static_cast<std::size_t>(taps.width));
  for (int i = 0; i < out_size; ++i) {
    const double centre = begin + (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(centre - support + 0.5), 0);
    const int count = std::min(static_cast<int>(centre + support + 0.5), in_size) - first;
    double sum = 0.0;
    for (int t = 0; t < count; ++t) {
      weights[t] = weight_at(filter, (t + first - centre + 0.5) * narrowing);
      sum += weights[t];
    }
    for (int t = 0; t < count; ++t) {
      const double weight = (sum != 0.0 ? weights[t] / sum : weights[t]) * (1 << kFractionBits);
      taps.weights[static_cast<std::size_t>(i) * taps.width + t] =
          static_cast<std::int32_t>(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    taps.first[i] = first;
    taps.count[i] = count;
  }
  return taps;
}

// A rectangle of a picture's pixels.
struct View {
  const std::uint8_t* pixels;
  int width, height;
  std::size_t stride;  // bytes from row to row
  const std::uint8_t* row(int y) const { return pixels + static_cast<std::size_t>(y) * stride; }
};

View view_of(const Image& image) {
  return {image.rgb.data(), image.width, image.height, std::size_t{3} * image.width};
}

inline std::uint8_t to_byte(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kFractionBits, 0, 255));
}

// One output column of kRows rows. `columns` holds the input by column: [x][channel][kRows].
BLIP2_VECTORISED void filter_columns(const std::uint8_t* columns, const std::int32_t* weights,
                                     int count, std::uint8_t* out) {
  std::int32_t sums[3 * kRows];
  for (int i = 0; i < 3 * kRows; ++i) sums[i] = 1 << (kFractionBits - 1);
  for (int t = 0; t < count; ++t, columns += 3 * kRows) {
    for (int i = 0; i < 3 * kRows; ++i) sums[i] += columns[i] * weights[t];
  }
  for (int i = 0; i < 3 * kRows; ++i) out[i] = to_byte(sums[i]);
}

// `length` bytes of one output row from `count` input rows that begin `stride` bytes apart.
BLIP2_VECTORISED void filter_rows(const std::uint8_t* in, std::size_t stride,
                                  const std::int32_t* weights, int count, std::size_t length,
                                  std::uint8_t* out) {
  constexpr std::size_t kChunk = 64;
  for (std::size_t begin = 0; begin < length; begin += kChunk) {
    std::int32_t sums[kChunk];
    for (std::size_t i = 0; i < kChunk; ++i) sums[i] = 1 << (kFractionBits - 1);
    const std::size_t size = std::min(kChunk, length - begin);
    for (int t = 0; t < count; ++t) {
      const std::uint8_t* row = in + static_cast<std::size_t>(t) * stride + begin;
      if (size == kChunk) {
        for (std::size_t i = 0; i < kChunk; ++i) sums[i] += row[i] * weights[t];
      } else {
        for (std::size_t i = 0; i < size; ++i) sums[i] += row[i] * weights[t];
      }
    }
    for (std::size_t i = 0; i < size; ++i) out[begin + i] = to_byte(sums[i]);
  }
}

// kRows rows (fewer at the end: the last is repeated) as columns [x][channel][kRows].
void to_columns(const View& in, int y, int rows, std::uint8_t* columns) {
  const std::uint8_t* row[kRows];
  for (int r = 0; r < kRows; ++r) row[r] = in.row(y + std::min(r, rows - 1));
  for (int i = 0; i < 3 * in.width; ++i, columns += kRows) {
    for (int r = 0; r < kRows; ++r) columns[r] = row[r][i];
  }
}

Image horizontal_pass(const View& in, int width, const Taps& taps) {
  Image out = blank_image(width, in.height);
  std::vector<std::uint8_t> columns(std::size_t{3 * kRows} * in.width);
  for (int y = 0; y < in.height; y += kRows) {
    const int rows = std::min(kRows, in.height - y);
    to_columns(in, y, rows, columns.data());
    for (int x = 0; x < width; ++x) {
      std::uint8_t pixels[3 * kRows];
      filter_columns(columns.data() + std::size_t{3 * kRows} * taps.first[x],
                     taps.weights.data() + static_cast<std::size_t>(x) * taps.width, taps.count[x],
                     pixels);
      for (int r = 0; r < rows; ++r) {
        std::uint8_t* to = out.rgb.data() + (static_cast<std::size_t>(y + r) * width + x) * 3;
        for (int c = 0; c < 3; ++c) to[c] = pixels[c * kRows + r];
      }
    }
  }
  return out;
}

Image vertical_pass(const View& in, int height, const Taps& taps, int first_row) {
  Image out = blank_image(in.width, height);
  const std::size_t length = std::size_t{3} * in.width;
  for (int y = 0; y < height; ++y) {
    filter_rows(in.row(taps.first[y] - first_row), in.stride,
                taps.weights.data() + static_cast<std::size_t>(y) * taps.width, taps.count[y],
                length, out.rgb.data() + static_cast<std::size_t>(y) * length);
  }
  return out;
}

Image copy_of(const View& in) {
  Image out = blank_image(in.width, in.height);
  for (int y = 0; y < in.height; ++y) {
    std::memcpy(out.rgb.data() + static_cast<std::size_t>(y) * 3 * in.width, in.row(y),
                std::size_t{3} * in.width);
  }
  return out;
}

// Pillow 13 begins with the pass that shrinks if the height loses far more pixels than the width
// (its pull request 9549); the order shows in the rounding. Earlier versions began horizontally.
bool vertical_first(const View& in, int width, int height) {
  return height < in.height && in.height - height > 2 * (in.width - width);
}

Image resize_view(const View& in, int width, int height, Filter filter, const Box& box) {
  const bool horizontal = width != in.width || box.x0 != 0 || box.x1 != width;
  const bool vertical = height != in.height || box.y0 != 0 || box.y1 != height;
  if (!horizontal && !vertical) return copy_of(in);
  const Taps columns = taps_of(in.width, box.x0, box.x1, width, filter);
  if (!vertical) return horizontal_pass(in, width, columns);
  const Taps rows = taps_of(in.height, box.y0, box.y1, height, filter);
  if (!horizontal) return vertical_pass(in, height, rows, 0);
  if (vertical_first(in, width, height)) {
    return horizontal_pass(view_of(vertical_pass(in, height, rows, 0)), width, columns);
  }
  // Only the rows that the vertical pass will read.
  const int first = rows.first.front(), end = rows.first.back() + rows.count.back();
  const View used{in.row(first), in.width, end - first, in.stride};
  return vertical_pass(view_of(horizontal_pass(used, width, columns)), height, rows, first);
}

}  // namespace

Image resize(const Image& image, int width, int height, Filter filter,
             const std::optional<Box>& box) {
  const Box whole{0, 0, static_cast<float>(image.width), static_cast<float>(image.height)};
  const Box b = box.value_or(whole);
  if (width <= 0 || height <= 0 || image.width <= 0 || image.height <= 0) {
    throw Error(fmt::format("cannot resize {} x {} pixels to {} x {}", image.width, image.height,
                            width, height));
  }
  if (!(b.x0 >= 0 && b.y0 >= 0 && b.x0 < b.x1 && b.y0 < b.y1 && b.x1 <= whole.x1 &&
        b.y1 <= whole.y1)) {
    throw Error(fmt::format("the box {}, {}, {}, {} is empty or not within {} x {} pixels", b.x0,
                            b.y0, b.x1, b.y1, image.width, image.height));
  }
  return resize_view(view_of(image), width, height, filter, b);
}

Image crop(const Image& image, int x0, int y0, int width, int height) {
  if (width <= 0 || height <= 0) {
    throw Error(fmt::format("cannot crop to {} x {} pixels", width, height));
  }
  Image out = blank_image(width, height);
  const int left = std::max(x0, 0), right = std::min(x0 + width, image.width);
  if (left >= right) return out;
  for (int y = std::max(y0, 0); y < std::min(y0 + height, image.height); ++y) {
    std::memcpy(out.rgb.data() + (static_cast<std::size_t>(y - y0) * width + (left - x0)) * 3,
                image.rgb.data() + (static_cast<std::size_t>(y) * image.width + left) * 3,
                std::size_t{3} * (right - left));
  }
  return out;
}

Image flip_horizontally(const Image& image) {
  Image out = blank_image(image.width, image.height);
  const std::uint8_t* from = image.rgb.data();
  for (int y = 0; y < image.height; ++y) {
    std::uint8_t* to = out.rgb.data() + std::size_t{3} * image.width * (y + 1);
    for (int x = 0; x < image.width; ++x, from += 3) std::memcpy(to -= 3, from, 3);
  }
  return out;
}

}  // namespace blip2

#include "blip2/image/resize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/image/codecs_internal.h"
#include "blip2/image/resize_taps_internal.h"

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

constexpr int kRows = 16;  // rows that the horizontal pass treats together
// Weights that are made at a time: few enough to stay in a cache, and little memory for the
// longest picture.
constexpr std::size_t kMostWeights = 1 << 18;

// A rectangle of a picture's pixels.
struct View {
  const std::uint8_t* pixels;
  int width, height;
  std::size_t stride;  // bytes from row to row

  const std::uint8_t* row(std::int64_t y) const {
    return pixels + static_cast<std::size_t>(y) * stride;
  }
  View part(std::int64_t x, std::int64_t y, std::int64_t part_width,
            std::int64_t part_height) const {
    return {row(y) + 3 * x, static_cast<int>(part_width), static_cast<int>(part_height), stride};
  }
};

View view_of(const Image& image) {
  return {image.rgb.data(), image.width, image.height, std::size_t{3} * image.width};
}

// An axis, and the outputs to compute on it: `count` outputs from `first` on.
struct Pass {
  Axis axis;
  std::int64_t first;
  int count;
  Filter filter;
  Resampler resampler;

  bool resizes() const {
    return axis.out != axis.in || axis.begin != 0 || axis.length != static_cast<double>(axis.in);
  }
  // The taps of all wanted outputs, some at a time: use(taps, place of their first among them).
  template <typename Use>
  void in_parts(const Use& use) const {
    TapMaker maker(axis, filter, resampler);
    const auto most = std::max<std::int64_t>(
        1, static_cast<std::int64_t>(kMostWeights / std::max<std::size_t>(maker.width(), 1)));
    for (std::int64_t i = 0; i < count; i += most) {
      use(maker.taps(first + i, std::min<std::int64_t>(most, count - i)), i);
    }
  }
};

// The inputs that the wanted outputs of a pass read, or these outputs where it does not resize.
struct Inputs {
  std::int64_t first, count;
};

Inputs inputs_of(const Pass& pass) {
  if (!pass.resizes()) return {pass.first, pass.count};
  TapMaker maker(pass.axis, pass.filter, pass.resampler);
  const std::int64_t first = maker.taps(pass.first, 1).first_input();
  return {first, maker.taps(pass.first + pass.count - 1, 1).end_input() - first};
}

inline std::uint8_t to_byte(std::int32_t sum, int bits) {
  return static_cast<std::uint8_t>(std::clamp(sum >> bits, 0, 255));
}

// One output column of kRows rows. `columns` holds the input by column: [x][channel][kRows].
BLIP2_VECTORISED void filter_columns(const std::uint8_t* columns, const std::int32_t* weights,
                                     int count, int bits, std::uint8_t* out) {
  std::int32_t sums[3 * kRows];
  for (int i = 0; i < 3 * kRows; ++i) sums[i] = 1 << (bits - 1);
  for (int t = 0; t < count; ++t, columns += 3 * kRows) {
    for (int i = 0; i < 3 * kRows; ++i) sums[i] += columns[i] * weights[t];
  }
  for (int i = 0; i < 3 * kRows; ++i) out[i] = to_byte(sums[i], bits);
}

// `length` bytes of one output row from `count` input rows that begin `stride` bytes apart.
BLIP2_VECTORISED void filter_rows(const std::uint8_t* in, std::size_t stride,
                                  const std::int32_t* weights, int count, int bits,
                                  std::size_t length, std::uint8_t* out) {
  constexpr std::size_t kChunk = 64;
  for (std::size_t begin = 0; begin < length; begin += kChunk) {
    std::int32_t sums[kChunk];
    for (std::size_t i = 0; i < kChunk; ++i) sums[i] = 1 << (bits - 1);
    const std::size_t size = std::min(kChunk, length - begin);
    for (int t = 0; t < count; ++t) {
      const std::uint8_t* row = in + static_cast<std::size_t>(t) * stride + begin;
      if (size == kChunk) {
        for (std::size_t i = 0; i < kChunk; ++i) sums[i] += row[i] * weights[t];
      } else {
        for (std::size_t i = 0; i < size; ++i) sums[i] += row[i] * weights[t];
      }
    }
    for (std::size_t i = 0; i < size; ++i) out[begin + i] = to_byte(sums[i], bits);
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

// All rows of the outputs whose taps these are; they go to `out` from column `at`.
void filter_part(const View& in, const Taps& taps, std::int64_t at, Image& out) {
  std::vector<std::uint8_t> columns(std::size_t{3 * kRows} * static_cast<std::size_t>(in.width));
  for (int y = 0; y < in.height; y += kRows) {
    const int rows = std::min(kRows, in.height - y);
    to_columns(in, y, rows, columns.data());
    for (std::size_t x = 0; x < taps.first.size(); ++x) {
      std::uint8_t pixels[3 * kRows];
      const auto first = static_cast<std::size_t>(taps.first[x] - taps.first_input());
      filter_columns(columns.data() + 3 * kRows * first,
                     taps.weights.data() + x * static_cast<std::size_t>(taps.width), taps.count[x],
                     taps.bits, pixels);
      for (int r = 0; r < rows; ++r) {
        const auto place = static_cast<std::size_t>(y + r) * static_cast<std::size_t>(out.width) +
                           static_cast<std::size_t>(at) + x;
        for (int c = 0; c < 3; ++c) out.rgb[3 * place + c] = pixels[c * kRows + r];
      }
    }
  }
}

// `in` holds the inputs from `first_column`.
Image horizontal_pass(const View& in, const Pass& pass, std::int64_t first_column) {
  Image out = blank_image(pass.count, in.height);
  pass.in_parts([&](const Taps& taps, std::int64_t at) {
    const std::int64_t first = taps.first_input();
    const View used = in.part(first - first_column, 0, taps.end_input() - first, in.height);
    filter_part(used, taps, at, out);
  });
  return out;
}

// `in` holds the inputs from `first_row`.
Image vertical_pass(const View& in, const Pass& pass, std::int64_t first_row) {
  Image out = blank_image(in.width, pass.count);
  const std::size_t length = std::size_t{3} * in.width;
  pass.in_parts([&](const Taps& taps, std::int64_t at) {
    for (std::size_t y = 0; y < taps.first.size(); ++y) {
      filter_rows(in.row(taps.first[y] - first_row), in.stride,
                  taps.weights.data() + y * static_cast<std::size_t>(taps.width), taps.count[y],
                  taps.bits, length, out.rgb.data() + (static_cast<std::size_t>(at) + y) * length);
    }
  });
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
bool vertical_first(const Axis& columns, const Axis& rows) {
  return rows.out < rows.in && rows.in - rows.out > 2 * (columns.in - columns.out);
}

Image run_passes(const Image& image, const Pass& columns, const Pass& rows) {
  const Inputs x = inputs_of(columns), y = inputs_of(rows);
  const View used = view_of(image).part(x.first, y.first, x.count, y.count);
  if (!columns.resizes() && !rows.resizes()) return copy_of(used);
  if (!rows.resizes()) return horizontal_pass(used, columns, x.first);
  if (!columns.resizes()) return vertical_pass(used, rows, y.first);
  if (rows.resampler == Resampler::pillow && vertical_first(columns.axis, rows.axis)) {
    return horizontal_pass(view_of(vertical_pass(used, rows, y.first)), columns, x.first);
  }
  return vertical_pass(view_of(horizontal_pass(used, columns, x.first)), rows, y.first);
}

}  // namespace

void check_sizes(const Image& image, std::int64_t width, std::int64_t height) {
  if (width > 0 && height > 0 && image.width > 0 && image.height > 0) return;
  throw Error(fmt::format("cannot resize {} x {} pixels to {} x {}", image.width, image.height,
                          width, height));
}

Image resize(const Image& image, int width, int height, Filter filter,
             const std::optional<Box>& box) {
  const Box whole{0, 0, static_cast<float>(image.width), static_cast<float>(image.height)};
  const Box b = box.value_or(whole);
  check_sizes(image, width, height);
  if (!(b.x0 >= 0 && b.y0 >= 0 && b.x0 < b.x1 && b.y0 < b.y1 && b.x1 <= whole.x1 &&
        b.y1 <= whole.y1)) {
    throw Error(fmt::format("the box {}, {}, {}, {} is empty or not within {} x {} pixels", b.x0,
                            b.y0, b.x1, b.y1, image.width, image.height));
  }
  const Axis columns{image.width, width, b.x0, b.x1 - b.x0};
  const Axis rows{image.height, height, b.y0, b.y1 - b.y0};
  return run_passes(image, {columns, 0, width, filter, Resampler::pillow},
                    {rows, 0, height, filter, Resampler::pillow});
}

Image resize_and_crop(const Image& image, std::int64_t width, std::int64_t height, Filter filter,
                      const Region& region, Resampler resampler) {
  check_sizes(image, width, height);
  check_sizes(image, region.width, region.height);
  if (resampler == Resampler::torchvision && filter == Filter::box) {
    throw Error("torchvision has no box filter");
  }
  Image out = blank_image(region.width, region.height);
  const auto left = std::max<std::int64_t>(region.x0, 0),
             top = std::max<std::int64_t>(region.y0, 0);
  const auto right = std::min(region.x0 + region.width, width);
  const auto bottom = std::min(region.y0 + region.height, height);
  if (left >= right || top >= bottom) return out;
  // Pillow's box is of floats, which shows in pictures of more than 2^24 pixels a side.
  const auto length = [resampler](int size) -> double {
    return resampler == Resampler::pillow ? static_cast<float>(size) : size;
  };
  const Axis columns{image.width, width, 0, length(image.width)};
  const Axis rows{image.height, height, 0, length(image.height)};
  Image kept = run_passes(image, {columns, left, static_cast<int>(right - left), filter, resampler},
                          {rows, top, static_cast<int>(bottom - top), filter, resampler});
  if (kept.width == region.width && kept.height == region.height) return kept;
  return crop(kept, static_cast<int>(region.x0 - left), static_cast<int>(region.y0 - top),
              region.width, region.height);
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

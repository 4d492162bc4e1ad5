#pragma once

#include <cstdint>
#include <optional>

#include "blip2/image/image.h"

namespace blip2 {

// Pillow's resampling filters that work by convolution.
enum class Filter { box, bilinear, bicubic, lanczos };

// Whose values a resized picture has. Both work in fixed point, each of two passes rounded to 8
// bits, the filter widened when shrinking.
// pillow: Image.resize of Pillow 13, weights of 22 bits.
// torchvision: its resize of uint8 tensors with antialias, which is ATen's on a processor with
// AVX2; weights of 16 bits, always horizontally first. It has no box filter.
enum class Resampler { pillow, torchvision };

// A rectangle of the source in pixels, edges included at x0, y0 and excluded at x1, y1.
struct Box {
  float x0 = 0, y0 = 0, x1 = 0, y1 = 0;
};

// Image.resize((width, height), filter, box) of Pillow 13, bit for bit.
// Throws Error if a size is not positive or the box is empty or outside the picture.
Image resize(const Image& image, int width, int height, Filter filter,
             const std::optional<Box>& box = std::nullopt);

// What is kept of a resized picture: width x height pixels from x0, y0.
struct Region {
  std::int64_t x0 = 0, y0 = 0;
  int width = 0, height = 0;
};

// The region of the picture resized to width x height, as crop() has it: parts outside are black.
// Only what the region keeps is computed, so that memory and time are bounded by the picture and
// the region, whatever the sizes between. Throws Error if a size is not positive, or for the box
// filter with torchvision.
Image resize_and_crop(const Image& image, std::int64_t width, std::int64_t height, Filter filter,
                      const Region& region, Resampler resampler);

// The rectangle of whole pixels; parts of it outside the picture are black, as Image.crop has it.
Image crop(const Image& image, int x0, int y0, int width, int height);

// Mirrors left and right.
Image flip_horizontally(const Image& image);

}  // namespace blip2

#pragma once

#include <optional>

#include "blip2/image/image.h"

namespace blip2 {

// Pillow's resampling filters that work by convolution.
enum class Filter { box, bilinear, bicubic, lanczos };

// A rectangle of the source in pixels, edges included at x0, y0 and excluded at x1, y1.
struct Box {
  float x0 = 0, y0 = 0, x1 = 0, y1 = 0;
};

// Image.resize((width, height), filter, box) of Pillow 13, bit for bit: two passes in fixed point
// with 22 fractional bits, each rounded to 8 bits, the filter widened when shrinking.
// Throws Error if a size is not positive or the box is empty or outside the picture.
Image resize(const Image& image, int width, int height, Filter filter,
             const std::optional<Box>& box = std::nullopt);

// The rectangle of whole pixels; parts of it outside the picture are black, as Image.crop has it.
Image crop(const Image& image, int x0, int y0, int width, int height);

// Mirrors left and right.
Image flip_horizontally(const Image& image);

}  // namespace blip2

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "blip2/image/image.h"

namespace blip2 {

// Pillow's resampling filters that work by convolution.
enum class Filter { box, bilinear, bicubic, lanczos };

// Whose pixel values a resized picture has. Both resamplers work in fixed point, in two passes that
// each round to 8 bits, with a filter that is widened when the picture shrinks. pillow:
// Image.resize of Pillow 13, with weights of 22 bits. torchvision: torchvision's resize of uint8
// tensors with antialias, which is ATen's on a processor with AVX2, with weights of 16 bits and the
// horizontal pass always first. It has no box filter.
enum class Resampler { pillow, torchvision };

// A rectangle of the source in pixels; x0 and y0 are inside, x1 and y1 outside.
struct Box {
  float x0 = 0, y0 = 0, x1 = 0, y1 = 0;
};

// Image.resize((width, height), filter, box) of Pillow 13, bit for bit.
// Throws Error if a size is not positive or the box is empty or outside the picture.
Image resize(const Image& image, int width, int height, Filter filter,
             const std::optional<Box>& box = std::nullopt);

// The region of a resized picture that is kept: width x height pixels from x0, y0.
struct Region {
  std::int64_t x0 = 0, y0 = 0;
  int width = 0, height = 0;
};

// Resizes the picture to width x height and crops it to the region, as crop() does: parts outside
// are black. Only pixels of the region are computed, so that memory and time are bounded by the
// picture and the region, whatever the size between. Throws Error if a size is not positive, or for
// the box filter with torchvision.
Image resize_and_crop(const Image& image, std::int64_t width, std::int64_t height, Filter filter,
                      const Region& region, Resampler resampler);

// The picture's bytes times `scale`, resized in f32: [3, height, width], row-major. Equal to
// torchvision's resize of float tensors with antialias but for rounding. Memory is that of the
// result. Throws Error if a size is not positive.
std::vector<float> resize_floats(const Image& image, int width, int height, Filter filter,
                                 double scale);

// The picture's rectangle of width x height pixels from x0, y0; parts outside the picture are
// black, as with Pillow's Image.crop.
Image crop(const Image& image, int x0, int y0, int width, int height);

// Mirrors left and right.
Image flip_horizontally(const Image& image);

}  // namespace blip2

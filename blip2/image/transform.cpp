#include "blip2/image/transform.h"

#include <algorithm>
#include <cmath>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

// Where a centre crop of `kept` pixels begins: Python's (a - b) // 2 in the PIL-backed processor,
// which begins with the larger half outside; int((a - b) / 2) in the torchvision-backed one.
std::int64_t crop_start(std::int64_t size, int kept, Resampler processor) {
  const std::int64_t rest = size - kept;
  return rest < 0 && processor == Resampler::pillow ? (rest - 1) / 2 : rest / 2;
}

struct Size {
  std::int64_t width, height;
};

// A side of whole patches, one at least, that holds the scaled one.
std::int64_t patched_side(double scale, int side, int patch) {
  return std::max<std::int64_t>(static_cast<std::int64_t>(std::ceil(side * scale / patch)), 1) *
         patch;
}

// transformers' get_image_size_for_max_num_patches: the largest scale, as its bisection finds it,
// at which both sides in whole patches keep to their number.
Size patched_size(const Image& image, const Preprocessing& p) {
  constexpr double kPrecision = 1e-5;
  const auto scaled = [&](double scale) -> Size {
    return {patched_side(scale, image.width, p.patch_size),
            patched_side(scale, image.height, p.patch_size)};
  };
  double low = kPrecision / 10, high = 100;
  while (high - low >= kPrecision) {
    const double scale = (low + high) / 2;
    const Size size = scaled(scale);
    const bool fits = (size.width / p.patch_size) * (size.height / p.patch_size) <=
                      std::int64_t{p.max_num_patches};
    (fits ? low : high) = scale;
  }
  return scaled(low);
}

// transformers' get_resize_output_image_size: the longer side is cut to whole pixels.
Size resized_size(const Image& image, const Preprocessing& p) {
  if (p.max_num_patches > 0) return patched_size(image, p);
  if (p.shortest_edge == 0) {
    return {p.resize_width > 0 ? p.resize_width : p.width,
            p.resize_height > 0 ? p.resize_height : p.height};
  }
  const bool upright = image.width <= image.height;
  const double shorter = upright ? image.width : image.height;
  const double longer = upright ? image.height : image.width;
  const auto other = static_cast<std::int64_t>(p.shortest_edge * longer / shorter);
  return upright ? Size{p.shortest_edge, other} : Size{other, p.shortest_edge};
}

// The float that a byte becomes. The PIL-backed processor rescales first, the torchvision-backed
// one scales mean and deviation instead.
float normalised_value(std::size_t byte, std::size_t channel, const Preprocessing& p) {
  const float mean = p.mean[channel], std = p.std[channel];
  if (p.processor == Resampler::pillow) {
    return (static_cast<float>(static_cast<double>(byte) * p.rescale_factor) - mean) / std;
  }
  const auto value = static_cast<float>(byte);
  if (!p.normalised) return value * static_cast<float>(p.rescale_factor);
  const auto scale = static_cast<float>(1.0 / p.rescale_factor);
  return (value - mean * scale) / (std * scale);
}

}  // namespace

Image fit(const Image& image, const Preprocessing& p) {
  const Size size = resized_size(image, p);
  if (p.max_num_patches > 0) {
    const Region whole{0, 0, static_cast<int>(size.width), static_cast<int>(size.height)};
    return resize_and_crop(image, size.width, size.height, p.filter, whole, p.processor);
  }
  const Region kept{crop_start(size.width, p.width, p.processor),
                    crop_start(size.height, p.height, p.processor), p.width, p.height};
  return resize_and_crop(image, size.width, size.height, p.filter, kept, p.processor);
}

PixelValues normalise(const Image& image, const Preprocessing& p) {
  const std::size_t pixels = image.rgb.size() / 3;
  PixelValues result{image.width, image.height, std::vector<float>(image.rgb.size())};
  for (std::size_t c = 0; c < 3; ++c) {
    std::array<float, 256> table;
    for (std::size_t v = 0; v < 256; ++v) table[v] = normalised_value(v, c, p);
    float* out = result.values.data() + c * pixels;
    for (std::size_t i = 0; i < pixels; ++i) out[i] = table[image.rgb[3 * i + c]];
  }
  return result;
}

// Of a processor that resizes floats.
PixelValues preprocess_floats(const Image& image, const Preprocessing& p) {
  PixelValues result{p.width, p.height,
                     resize_floats(image, p.width, p.height, p.filter, p.rescale_factor)};
  const std::size_t pixels = result.values.size() / 3;
  for (std::size_t i = 0; i < result.values.size(); ++i) {
    float& value = result.values[i];
    value = (value - p.mean[i / pixels]) / p.std[i / pixels];
  }
  return result;
}

PixelValues preprocess(const Image& image, const Preprocessing& preprocessing) {
  if (preprocessing.resizes_floats) return preprocess_floats(image, preprocessing);
  return normalise(fit(image, preprocessing), preprocessing);
}

Image random_view(const Image& image, const Preprocessing& p, const Augmentation& augmentation,
                  Random& random) {
  const double area = static_cast<double>(image.width) * image.height;
  const double low = std::log(augmentation.min_ratio), high = std::log(augmentation.max_ratio);
  Image view;
  for (int attempt = 0; attempt < 10 && view.rgb.empty(); ++attempt) {
    const double target = area * random.uniform(augmentation.min_scale, augmentation.max_scale);
    const double ratio = std::exp(random.uniform(low, high));
    const auto width = static_cast<int>(std::nearbyint(std::sqrt(target * ratio)));
    const auto height = static_cast<int>(std::nearbyint(std::sqrt(target / ratio)));
    if (width <= 0 || height <= 0 || width > image.width || height > image.height) continue;
    const auto y = static_cast<int>(random.below(static_cast<unsigned>(image.height - height + 1)));
    const auto x = static_cast<int>(random.below(static_cast<unsigned>(image.width - width + 1)));
    view = crop(image, x, y, width, height);
  }
  if (view.rgb.empty()) {  // the largest central crop of a ratio within the bounds
    const double ratio = static_cast<double>(image.width) / image.height;
    int width = image.width, height = image.height;
    if (ratio < augmentation.min_ratio) {
      height = static_cast<int>(std::nearbyint(width / augmentation.min_ratio));
    } else if (ratio > augmentation.max_ratio) {
      width = static_cast<int>(std::nearbyint(height * augmentation.max_ratio));
    }
    view = crop(image, (image.width - width) / 2, (image.height - height) / 2, std::max(width, 1),
                std::max(height, 1));
  }
  if (p.max_num_patches > 0) {
    view = fit(view, p);
  } else {
    const Region whole{0, 0, p.width, p.height};
    view = resize_and_crop(view, p.width, p.height, p.filter, whole, p.processor);
  }
  return random.uniform() < augmentation.flip_probability ? flip_horizontally(view) : view;
}

PixelValues augment(const Image& image, const Preprocessing& preprocessing,
                    const Augmentation& augmentation, Random& random) {
  return normalise(random_view(image, preprocessing, augmentation, random), preprocessing);
}

}  // namespace blip2

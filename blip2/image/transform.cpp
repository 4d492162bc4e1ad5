#include "blip2/image/transform.h"

#include <cmath>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

// Python's (a - b) // 2.
int half_difference(int a, int b) {
  return static_cast<int>(std::floor((a - b) / 2.0));
}

// transformers' get_resize_output_image_size: the longer side is cut to whole pixels.
Image resize_shortest(const Image& image, int edge, Filter filter) {
  const bool upright = image.width <= image.height;
  const double shorter = upright ? image.width : image.height;
  const double longer = upright ? image.height : image.width;
  const int other = static_cast<int>(edge * longer / shorter);
  return resize(image, upright ? edge : other, upright ? other : edge, filter);
}

}  // namespace

Image fit(const Image& image, const Preprocessing& p) {
  const int width = p.resize_width > 0 ? p.resize_width : p.width;
  const int height = p.resize_height > 0 ? p.resize_height : p.height;
  Image resized = p.shortest_edge > 0 ? resize_shortest(image, p.shortest_edge, p.filter)
                                      : resize(image, width, height, p.filter);
  if (resized.width == p.width && resized.height == p.height) return resized;
  return crop(resized, half_difference(resized.width, p.width),
              half_difference(resized.height, p.height), p.width, p.height);
}

std::vector<float> normalise(const Image& image, const Preprocessing& p) {
  const std::size_t pixels = image.rgb.size() / 3;
  std::vector<float> values(image.rgb.size());
  for (std::size_t c = 0; c < 3; ++c) {
    std::array<float, 256> table;
    for (std::size_t v = 0; v < 256; ++v) {
      const auto scaled = static_cast<float>(static_cast<double>(v) * p.rescale_factor);
      table[v] = (scaled - p.mean[c]) / p.std[c];
    }
    float* out = values.data() + c * pixels;
    for (std::size_t i = 0; i < pixels; ++i) out[i] = table[image.rgb[3 * i + c]];
  }
  return values;
}

std::vector<float> preprocess(const Image& image, const Preprocessing& preprocessing) {
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
  view = resize(view, p.width, p.height, p.filter);
  return random.uniform() < augmentation.flip_probability ? flip_horizontally(view) : view;
}

std::vector<float> augment(const Image& image, const Preprocessing& preprocessing,
                           const Augmentation& augmentation, Random& random) {
  return normalise(random_view(image, preprocessing, augmentation, random), preprocessing);
}

}  // namespace blip2

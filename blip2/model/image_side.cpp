#include "blip2/model/image_side.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "blip2/base/parallel.h"
#include "blip2/image/image.h"
#include "blip2/model/directory.h"
#include "blip2/nn/each_alone.h"

namespace blip2 {

ImageSide::ImageSide(const std::filesystem::path& folder, const TensorFile& weights,
                     const Blip2Config& config)
    : preprocessing_(load_preprocessing(folder / "preprocessor_config.json")),
      encoder_(load_efficientnet_lite(weights, config.vision, kVisionPrefix)) {}

at::Tensor ImageSide::encode(std::span<const std::string> images) const {
  const std::int64_t height = preprocessing_.height, width = preprocessing_.width;
  const at::Tensor pixels = at::empty({std::ssize(images), 3, height, width});
  float* out = pixels.mutable_data_ptr<float>();
  parallel_for(images.size(), static_cast<std::size_t>(at::get_num_threads()), [&](std::size_t i) {
    const auto values = preprocess(load_image(images[i]), preprocessing_);
    std::copy(values.begin(), values.end(),
              out + static_cast<std::int64_t>(i) * 3 * height * width);
  });
  std::vector<at::Tensor> features(images.size());
  each_alone(images.size(), [&](std::size_t i) {
    features[i] = encoder_->forward(pixels.narrow(0, static_cast<std::int64_t>(i), 1));
  });
  return at::cat(features);
}

}  // namespace blip2

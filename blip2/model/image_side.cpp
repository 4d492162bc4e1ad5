#include "blip2/model/image_side.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "blip2/base/parallel.h"
#include "blip2/image/image.h"
#include "blip2/model/directory.h"

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
  // One picture at a time: products over a batch round by its size, and a batch has to answer as
  // its pictures would alone.
  std::vector<at::Tensor> features;
  for (const at::Tensor& picture : pixels.split(1)) features.push_back(encoder_->forward(picture));
  return at::cat(features);
}

}  // namespace blip2

#include "blip2/vision/image_encoder.h"

#include <fmt/format.h>

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/nn/tensor_bridge.h"

namespace blip2 {

void ImageEncoder::check_input(const at::Tensor& pixel_values) const {
  const std::int64_t size = image_size();
  TORCH_CHECK(pixel_values.dim() == 4 && pixel_values.size(1) == 3 &&
                  pixel_values.size(2) == size && pixel_values.size(3) == size,
              "image encoder: expected pixel_values [B, 3, ", size, ", ", size, "], got ",
              shape_text(pixel_values.sizes()));
}

void ImageEncoder::take_pictures(const Preprocessing& preprocessing) {
  if (preprocessing.max_num_patches > 0) {
    throw Error("expected pictures of one size, got pictures of any aspect",
                "preprocessor_config.json: max_num_patches", "the image encoder takes no others");
  }
  if (preprocessing.width != preprocessing.height) {
    throw Error(fmt::format("expected square pictures, got {} x {}", preprocessing.width,
                            preprocessing.height),
                "preprocessor_config.json", "the image encoder takes no others");
  }
  if (preprocessing.width != image_size()) set_image_size(preprocessing.width);
}

at::Tensor to_tensor(const PixelValues& pixels) {
  at::Tensor tensor = at::empty({3, pixels.height, pixels.width});
  std::copy(pixels.values.begin(), pixels.values.end(), tensor.mutable_data_ptr<float>());
  return tensor;
}

}  // namespace blip2

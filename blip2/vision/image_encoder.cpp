#include "blip2/vision/image_encoder.h"

#include "blip2/nn/tensor_bridge.h"

namespace blip2 {

void ImageEncoder::check_input(const at::Tensor& pixel_values) const {
  const std::int64_t size = image_size();
  TORCH_CHECK(pixel_values.dim() == 4 && pixel_values.size(1) == 3 &&
                  pixel_values.size(2) == size && pixel_values.size(3) == size,
              "image encoder: expected pixel_values [B, 3, ", size, ", ", size, "], got ",
              shape_text(pixel_values.sizes()));
}

}  // namespace blip2

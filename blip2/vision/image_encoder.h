#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <nlohmann/json.hpp>

namespace blip2 {

// What turns pictures into the features that the Q-Former reads. Member names are the tensor names
// of the encoder's checkpoints. A batch gives each picture's features to rounding: products over
// more rows may sum in another order.
class ImageEncoder : public torch::nn::Module {
 public:
  // [B, 3, S, S] f32 -> [B, P, D] f32, S = image_size(): the input of ln_vision. c10::Error for
  // another shape.
  virtual at::Tensor forward(const at::Tensor& pixel_values) const = 0;

  virtual std::int64_t positions() const = 0;   // P
  virtual std::int64_t width() const = 0;       // D
  virtual std::int64_t image_size() const = 0;  // S in pixels

  // In which forward() computes: the weights' type, unless a convolutional encoder was told
  // another.
  virtual at::ScalarType compute_type() const { return parameters().front().scalar_type(); }

  // The "vision_config" with which the encoder's present weights are read again.
  virtual nlohmann::json config_json() const = 0;

  // Takes pictures of another size from now on; before training starts. A vision transformer's
  // position embedding is resized for good, bicubic, with align_corners if its configuration says
  // so. Error for a size that the encoder cannot take.
  virtual void set_image_size(std::int64_t image_size) = 0;

 protected:
  // TORCH_CHECK that `pixel_values` is [B, 3, S, S].
  void check_input(const at::Tensor& pixel_values) const;
};

}  // namespace blip2

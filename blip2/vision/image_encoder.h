#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <nlohmann/json.hpp>

#include "blip2/image/transform.h"

namespace blip2 {

// An image encoder turns pictures into the features that the Q-Former reads. Member names are the
// tensor names of the encoder's checkpoints. A picture's features are the same in every batch
// except for rounding, as products over more rows may sum in another order. Const functions may run
// on several threads at once.
class ImageEncoder : public torch::nn::Module {
 public:
  // [B, 3, S, S] f32 -> [B, P, D] f32, S = image_size(): the input of ln_vision. An encoder for
  // pictures of any aspect takes [B, 3, H, W] and gives as many positions as they have patches.
  // c10::Error for another shape.
  virtual at::Tensor forward(const at::Tensor& pixel_values) const = 0;

  virtual std::int64_t positions() const = 0;   // P; of pictures of any aspect the most
  virtual std::int64_t width() const = 0;       // D
  virtual std::int64_t image_size() const = 0;  // S in pixels; a square one of any aspect

  // The type in which forward() computes: the weights' type, unless a convolutional encoder was
  // prepared for another type.
  virtual at::ScalarType compute_type() const { return parameters().front().scalar_type(); }

  // The "vision_config" that fits the encoder's present weights.
  virtual nlohmann::json config_json() const = 0;

  // Makes the encoder take pictures of another size; call it before training starts. A vision
  // transformer's position embedding is resized permanently, bicubic, with align_corners if the
  // configuration says so. Error for a size that the encoder cannot take.
  virtual void set_image_size(std::int64_t image_size) = 0;

  // Makes the encoder take the pictures that the preprocessing gives: those of another size by
  // set_image_size. Error if it cannot take them.
  virtual void take_pictures(const Preprocessing& preprocessing);

 protected:
  // TORCH_CHECK that `pixel_values` is [B, 3, S, S].
  void check_input(const at::Tensor& pixel_values) const;
};

// The pixel values of a preprocessed picture as a tensor [3, H, W], which shares their memory no
// longer.
at::Tensor to_tensor(const PixelValues& pixels);

}  // namespace blip2

#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blip2/image/transform.h"
#include "blip2/io/tensor_file.h"
#include "blip2/model/config.h"
#include "blip2/vision/image_encoder.h"

namespace blip2 {

// The type that a --precision asks for: "f32", "bf16" or "f16", else `stored`.
at::ScalarType type_of_precision(const std::string& precision, at::ScalarType stored);

// The frozen image encoder of a model directory with its preprocessing.
class ImageSide {
 public:
  // `precision`: "f32", "bf16", "f16", or "auto": as the directory stores the weights, mapped and
  // not copied; convolutional encoders compute in f32. Pictures are taken in the size of the
  // preprocessing: an encoder of another size has its positions resized.
  ImageSide(const std::filesystem::path& folder, std::shared_ptr<const TensorFile> weights,
            const Blip2Config& config, const std::string& precision = "auto");

  // Features of picture files, decoded in parallel: [N, P, D] f32, each picture's whatever stands
  // beside it. Error naming the file that cannot be read.
  at::Tensor encode(std::span<const std::string> images) const;
  // The same of preprocessed pictures [N, 3, S, S] f32.
  at::Tensor encode(const at::Tensor& pixel_values) const;
  const ImageEncoder& encoder() const { return *encoder_; }
  const Preprocessing& preprocessing() const { return preprocessing_; }

 private:
  Preprocessing preprocessing_;
  std::shared_ptr<ImageEncoder> encoder_;
  bool large_;  // worth all threads for one picture
};

// Whether two models see the same in any picture.
bool same_images(const ImageSide& a, const ImageSide& b);

// What an image encoder sees in those pictures of a list that can be read.
struct ReadablePictures {
  at::Tensor features;                // [R, P, D]; undefined if there is none
  std::vector<std::size_t> readable;  // R places in the list
  std::vector<std::string> faults;    // why a picture of the list cannot be read, or empty
};
ReadablePictures encode_readable(const ImageSide& side, std::span<const std::string> images);

}  // namespace blip2

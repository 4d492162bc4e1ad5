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

// What could be read of N picture files.
struct ReadPictures {
  std::vector<std::string> failures;  // N: what is wrong, with the file; empty where nothing is
  std::vector<std::size_t> good;      // those without a failure, n
  at::Tensor features;                // [n, …] f32 of the good ones
};

// Decodes and preprocesses picture files in parallel: as features, the values [n, 3, H, W] that an
// encoder reads.
ReadPictures read_pixels(std::span<const std::string> images, const Preprocessing& preprocessing);

// The frozen image encoder of a model directory with its preprocessing.
class ImageSide {
 public:
  // `precision`: "f32", "bf16", "f16", or "auto": as the directory stores the weights, mapped and
  // not copied; convolutional encoders compute in f32. Pictures are taken in the size of the
  // preprocessing: an encoder of another size has its positions resized. `pictures` beats what the
  // directory says of them.
  ImageSide(const std::filesystem::path& folder, std::shared_ptr<const TensorFile> weights,
            const Blip2Config& config, const std::string& precision = "auto",
            const PictureChoices& pictures = {});

  // Features of picture files, decoded in parallel: [N, P, D] f32, each picture's whatever stands
  // beside it. Error naming the file that cannot be read.
  at::Tensor encode(std::span<const std::string> images) const;
  // The same [n, P, D] of those that can be read; the others are named, and change nothing for
  // these.
  ReadPictures encode_readable(std::span<const std::string> images) const;
  // The same of preprocessed pictures [N, 3, S, S] f32.
  at::Tensor encode(const at::Tensor& pixel_values) const;
  const ImageEncoder& encoder() const { return *encoder_; }
  const Preprocessing& preprocessing() const { return preprocessing_; }

 private:
  Preprocessing preprocessing_;
  std::shared_ptr<ImageEncoder> encoder_;
  bool large_;  // worth all threads for one picture
};

// What features depend on of their encoder: weights, configuration, and the type in which it
// computes where the weights do not tell. The same text for the same features.
std::string describe_encoder(const ImageEncoder& encoder);

// Whether two models see the same in any picture.
bool same_images(const ImageSide& a, const ImageSide& b);

}  // namespace blip2

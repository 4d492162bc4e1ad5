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
#include "blip2/nn/image_features.h"
#include "blip2/vision/image_encoder.h"

namespace blip2 {

// The type that a --precision names: "f32", "bf16" or "f16"; `stored` for any other text.
at::ScalarType type_of_precision(const std::string& precision, at::ScalarType stored);

// What is known of the files among N that could be read as pictures.
template <typename Features>
struct ReadFiles {
  std::vector<std::string> failures;  // N: the error with the file's name; "" for a good picture
  std::vector<std::size_t> good;      // indices of the n good pictures
  Features features;                  // of the good pictures, f32
};
using ReadPictures = ReadFiles<ImageFeatures>;          // as an encoder gives them
using ReadPixels = ReadFiles<std::vector<at::Tensor>>;  // n of [3, H, W], as an encoder reads them

// Decodes and preprocesses picture files in parallel.
ReadPixels read_pixels(std::span<const std::string> images, const Preprocessing& preprocessing);

// The frozen image encoder of a model directory with its preprocessing. For one thread at a time:
// each call uses all threads.
class ImageSide {
 public:
  // `precision`: "f32", "bf16", "f16" or "auto". With "auto" the weights stay as the directory
  // stores them, mapped, and convolutional encoders compute in f32; what is not quantised of a
  // quantised encoder is f32 then. bf16 weights that stay so are laid once more for the products
  // (nn/packed_matrix.h), in memory of their own, and the file's leave memory. Pictures have
  // the size that the preprocessing says: the position embedding of an encoder of another size is
  // resized. `pictures` overrides the directory's preprocessing.
  ImageSide(const std::filesystem::path& folder, std::shared_ptr<const TensorFile> weights,
            const Blip2Config& config, const std::string& precision = "auto",
            const PictureChoices& pictures = {});

  // Features of picture files, which are decoded in parallel, in f32. A picture's features do not
  // depend on the pictures beside it. Error naming the file that cannot be read.
  ImageFeatures encode(std::span<const std::string> images) const;
  // The features of the files that can be read. Unreadable files are named in the result
  // and change nothing for the readable ones.
  ReadPictures encode_readable(std::span<const std::string> images) const;
  // The features of preprocessed pictures [3, H, W] f32.
  ImageFeatures encode(const std::vector<at::Tensor>& pictures) const;
  const ImageEncoder& encoder() const { return *encoder_; }
  const Preprocessing& preprocessing() const { return preprocessing_; }

 private:
  Preprocessing preprocessing_;
  std::shared_ptr<ImageEncoder> encoder_;
  bool large_;  // all threads compute one picture, as the encoder is large
};

// Describes everything in an encoder on which features depend: weights, configuration, and the
// compute type if it is not the weights' type. Encoders with the same text give the same features.
std::string describe_encoder(const ImageEncoder& encoder);

// Whether two models have the same features of every picture.
bool same_images(const ImageSide& a, const ImageSide& b);

}  // namespace blip2

#include "blip2/model/image_side.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <nlohmann/json.hpp>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/parallel.h"
#include "blip2/data/feature_cache.h"
#include "blip2/image/image.h"
#include "blip2/model/directory.h"
#include "blip2/nn/batch_invariant.h"
#include "blip2/vision/image_encoders.h"

namespace blip2 {
namespace {

// The encoder for pictures of the preprocessing's size.
std::shared_ptr<ImageEncoder> load_encoder(const std::filesystem::path& folder,
                                           std::shared_ptr<const TensorFile> weights,
                                           const Blip2Config& config, at::ScalarType type,
                                           MatrixForm form, const Preprocessing& preprocessing) {
  auto encoder = load_image_encoder(std::move(weights), config.vision, kVisionPrefix, type,
                                    /*trainable=*/false, form);
  try {
    encoder->take_pictures(preprocessing);
  } catch (const Error& error) {
    throw error.within(folder.string());
  }
  if (encoder->width() != config.qformer.encoder_hidden_size) {
    throw Error(fmt::format("the image encoder is {} wide, the Q-Former reads {}", encoder->width(),
                            config.qformer.encoder_hidden_size),
                (folder / "config.json").string() + ": qformer_config: encoder_hidden_size");
  }
  return encoder;
}

}  // namespace

at::ScalarType type_of_precision(const std::string& precision, at::ScalarType stored) {
  if (precision == "f32") return at::kFloat;
  if (precision == "bf16") return at::kBFloat16;
  return precision == "f16" ? at::kHalf : stored;
}

ImageSide::ImageSide(const std::filesystem::path& folder, std::shared_ptr<const TensorFile> weights,
                     const Blip2Config& config, const std::string& precision,
                     const PictureChoices& pictures)
    : preprocessing_(with_choices(load_preprocessing(preprocessing_file(folder)), pictures)),
      large_(std::holds_alternative<VitConfig>(config.vision)) {
  const at::ScalarType stored = stored_type(*weights, kVisionPrefix);
  const bool blocks = precision == "auto" && has_blocks(*weights, kVisionPrefix);
  // The small convolutional encoders compute in f32 whatever the rest does, as does what is not in
  // blocks of a quantised one.
  const at::ScalarType type = large_ && !blocks ? type_of_precision(precision, stored) : at::kFloat;
  // Matrices that are converted have memory of their own already.
  const MatrixForm form = blocks           ? MatrixForm::blocks
                          : type == stored ? MatrixForm::packed
                                           : MatrixForm::stored;
  encoder_ = load_encoder(folder, std::move(weights), config, type, form, preprocessing_);
}

ImageFeatures ImageSide::encode(std::span<const std::string> images) const {
  ReadPictures read = encode_readable(images);
  for (const std::string& failure : read.failures) {
    if (!failure.empty()) throw Error(failure);
  }
  return read.features;
}

ReadPixels read_pixels(std::span<const std::string> images, const Preprocessing& preprocessing) {
  ReadPixels read{std::vector<std::string>(images.size()), {}, {}};
  std::vector<at::Tensor> pixels(images.size());
  parallel_for(images.size(), static_cast<std::size_t>(at::get_num_threads()), [&](std::size_t i) {
    try {
      pixels[i] =
          to_tensor(preprocess(load_image(images[i], preprocessing.sixteen_bit), preprocessing));
    } catch (const Error& error) {
      read.failures[i] = error.what();
    } catch (const std::bad_alloc&) {
      read.failures[i] = Error("there is no memory to decode it", images[i]).what();
    }
  });
  for (std::size_t i = 0; i < images.size(); ++i) {
    if (!read.failures[i].empty()) continue;
    read.good.push_back(i);
    read.features.push_back(std::move(pixels[i]));
  }
  return read;
}

ReadPictures ImageSide::encode_readable(std::span<const std::string> images) const {
  ReadPixels read = read_pixels(images, preprocessing_);
  return {std::move(read.failures), std::move(read.good), encode(read.features)};
}

ImageFeatures ImageSide::encode(const std::vector<at::Tensor>& pictures) const {
  if (pictures.empty()) return at::empty({0, encoder_->positions(), encoder_->width()});
  std::vector<ImageFeatures> features(pictures.size());
  const auto encode_one = [&](std::size_t i) {
    features[i] = encoder_->forward(pictures[i].unsqueeze(0));
  };
  // Either way a picture's products have the same shape and threads in any batch.
  if (large_) {
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < pictures.size(); ++i) encode_one(i);
  } else {
    batch_invariant_for(pictures.size(), encode_one);
  }
  return join(features);
}

std::string describe_encoder(const ImageEncoder& encoder) {
  std::string text = hash_module(encoder) + " " + encoder.config_json().dump();
  // Unnamed where it is the weights' own, so that caches written before it was named stay valid.
  const at::ScalarType type = encoder.compute_type();
  if (type != encoder.parameters().front().scalar_type()) {
    text += std::string(" computed in ") + c10::toString(type);
  }
  return text;
}

bool same_images(const ImageSide& a, const ImageSide& b) {
  return a.preprocessing() == b.preprocessing() &&
         describe_encoder(a.encoder()) == describe_encoder(b.encoder());
}

}  // namespace blip2

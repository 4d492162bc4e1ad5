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
  if (preprocessing.width != preprocessing.height) {
    throw Error(fmt::format("expected square pictures, got {} x {}", preprocessing.width,
                            preprocessing.height),
                folder.string(), "the image encoder takes no others");
  }
  if (preprocessing.width != encoder->image_size()) encoder->set_image_size(preprocessing.width);
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

at::Tensor ImageSide::encode(std::span<const std::string> images) const {
  ReadPictures read = encode_readable(images);
  for (const std::string& failure : read.failures) {
    if (!failure.empty()) throw Error(failure);
  }
  return read.features;
}

ReadPictures read_pixels(std::span<const std::string> images, const Preprocessing& preprocessing) {
  const std::int64_t height = preprocessing.height, width = preprocessing.width;
  ReadPictures read{std::vector<std::string>(images.size()), {}, {}};
  at::Tensor pixels = at::empty({std::ssize(images), 3, height, width});
  float* out = pixels.mutable_data_ptr<float>();
  parallel_for(images.size(), static_cast<std::size_t>(at::get_num_threads()), [&](std::size_t i) {
    try {
      const auto values =
          preprocess(load_image(images[i], preprocessing.sixteen_bit), preprocessing);
      std::copy(values.begin(), values.end(),
                out + static_cast<std::int64_t>(i) * 3 * height * width);
    } catch (const Error& error) {
      read.failures[i] = error.what();
    } catch (const std::bad_alloc&) {
      read.failures[i] = Error("there is no memory to decode it", images[i]).what();
    }
  });
  for (std::size_t i = 0; i < images.size(); ++i) {
    if (read.failures[i].empty()) read.good.push_back(i);
  }
  if (read.good.size() < images.size()) {
    const std::vector<std::int64_t> places(read.good.begin(), read.good.end());
    pixels = pixels.index_select(0, at::tensor(places, at::kLong));
  }
  read.features = pixels;
  return read;
}

ReadPictures ImageSide::encode_readable(std::span<const std::string> images) const {
  ReadPictures read = read_pixels(images, preprocessing_);
  read.features = read.good.empty() ? at::empty({0, encoder_->positions(), encoder_->width()})
                                    : encode(read.features);
  return read;
}

at::Tensor ImageSide::encode(const at::Tensor& pixel_values) const {
  const auto count = static_cast<std::size_t>(pixel_values.size(0));
  std::vector<at::Tensor> features(count);
  const auto encode_one = [&](std::size_t i) {
    features[i] = encoder_->forward(pixel_values.narrow(0, static_cast<std::int64_t>(i), 1));
  };
  // Either way a picture's products have the same shape and threads in any batch.
  if (large_) {
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < count; ++i) encode_one(i);
  } else {
    batch_invariant_for(count, encode_one);
  }
  return at::cat(features);
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

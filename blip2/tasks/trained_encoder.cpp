#include "blip2/tasks/trained_encoder.h"
#include "blip2/recipe/compute_type.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/io/safetensors.h"
#include "blip2/model/directory.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/tasks/starting_model.h"
#include "blip2/tasks/task.h"
#include "blip2/vision/image_encoders.h"

namespace blip2 {
namespace {

// Pictures of `size` pixels; what is cut off by a centre crop keeps its share.
void resize(Preprocessing& preprocessing, int size) {
  const double factor = static_cast<double>(size) / preprocessing.width;
  for (int* side :
       {&preprocessing.resize_width, &preprocessing.resize_height, &preprocessing.shortest_edge}) {
    *side = static_cast<int>(std::lround(*side * factor));
  }
  preprocessing.width = preprocessing.height = size;
}

}  // namespace

Preprocessing trained_preprocessing(const Recipe& recipe) {
  Preprocessing preprocessing =
      load_preprocessing(preprocessing_file(starting_model(recipe).bridge));
  const ImageEncoderRecipe& encoder = recipe.image_encoder;
  const bool any_aspect = preprocessing.max_num_patches > 0;
  if (any_aspect ? encoder.image_size > 0 : encoder.max_num_patches > 0) {
    throw Error(
        fmt::format("the image encoder takes pictures of {}",
                    any_aspect ? "any aspect" : "one size"),
        recipe.place(any_aspect ? "image_encoder.image_size" : "image_encoder.max_num_patches"),
        any_aspect ? "max_num_patches says how large they become"
                   : "image_size says how large they become");
  }
  if (encoder.image_size > 0) resize(preprocessing, static_cast<int>(encoder.image_size));
  if (any_aspect) {
    if (encoder.max_num_patches > 0) {
      preprocessing.max_num_patches = static_cast<int>(encoder.max_num_patches);
    }
    return preprocessing;
  }
  if (preprocessing.width != preprocessing.height) {
    throw Error(fmt::format("expected square pictures, got {} x {}", preprocessing.width,
                            preprocessing.height),
                recipe.init, "the image encoder takes no others; set image_encoder.image_size");
  }
  return preprocessing;
}

VitConfig trained_vision(const VisionConfig& vision, const Recipe& recipe) {
  const auto* vit = std::get_if<VitConfig>(&vision);
  if (!vit) {
    throw Error(fmt::format("expected a vision transformer, got {}",
                            write_vision_config(vision).value("model_type", "another encoder")),
                recipe.place("image_encoder.train"), "encoders of other kinds stay frozen");
  }
  VitConfig trained = *vit;
  trained.num_hidden_layers = vit->layers();
  trained.feature_layers = 0;
  const Preprocessing preprocessing = trained_preprocessing(recipe);
  if (vit->is_naflex()) {
    trained.max_num_patches = preprocessing.max_num_patches;
  } else {
    trained.image_size = preprocessing.width;
  }
  check_vit_config(trained, "image_encoder.image_size");
  return trained;
}

TrainedEncoder::TrainedEncoder(const Recipe& recipe, std::shared_ptr<const TensorFile> weights,
                               const VisionConfig& vision)
    : preprocessing_(trained_preprocessing(recipe)) {
  const VitConfig config = trained_vision(vision, recipe);
  vit_ = std::dynamic_pointer_cast<Vit>(load_image_encoder(std::move(weights), vision,
                                                           kVisionPrefix, at::kFloat,
                                                           /*trainable=*/true));
  vit_->take_pictures(preprocessing_);
  const ImageEncoderRecipe& encoder = recipe.image_encoder;
  step_.type = compute_type(recipe);
  step_.drop_path = encoder.drop_path;
  step_.checkpointing = encoder.checkpointing;
  for (const auto& item : vit_->named_parameters()) {
    parameters_.push_back({kVisionPrefix + item.key(), item.value()});
    const std::int64_t above = config.layers() + 1 - vit_->layer_of(item.key());
    lr_scales_.push_back(std::pow(encoder.layer_decay, static_cast<double>(above)));
  }
}

at::Tensor TrainedEncoder::encode(const at::Tensor& pixels,
                                  std::span<const std::uint64_t> seeds) const {
  VitStep step = step_;
  step.seeds = seeds;
  return vit_->forward(pixels, step);
}

void TrainedEncoder::save(const std::filesystem::path& folder) const {
  std::vector<at::Tensor> keep;
  std::vector<TensorView> views;
  for (const auto& [name, value] : parameters_) {
    keep.push_back(value.detach().contiguous());
    views.push_back(view_of(name, keep.back()));
  }
  write_safetensors(folder / kVisionFile, views, {{"format", "pt"}});
  save_preprocessing(preprocessing_, folder / "preprocessor_config.json");
}

}  // namespace blip2

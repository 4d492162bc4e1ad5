#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "blip2/image/transform.h"
#include "blip2/io/tensor_file.h"
#include "blip2/optimiser/adamw.h"
#include "blip2/recipe/recipe.h"
#include "blip2/vision/vision_config.h"
#include "blip2/vision/vit.h"

namespace blip2 {

// The preprocessing for the image encoder of the recipe's `init`: the directory's, at the recipe's
// image_size or max_num_patches if it names one. Error if it names the one that does not fit.
Preprocessing trained_preprocessing(const Recipe& recipe);

// The configuration of the encoder that the recipe trains, made from that of `init`: without blocks
// that no feature depends on, at the size of trained_preprocessing. Error if the encoder is not a
// vision transformer, or cannot take the size.
VitConfig trained_vision(const VisionConfig& vision, const Recipe& recipe);

// An image encoder that is trained beside the bridge (paper, section 4.2: fine-tuning). Weights and
// gradients are f32; with bf16 precision matrix products are in bf16 (autocast).
class TrainedEncoder {
 public:
  // The encoder starts with the weights of the recipe's `init`.
  TrainedEncoder(const Recipe& recipe, std::shared_ptr<const TensorFile> weights,
                 const VisionConfig& vision);

  // [B, 3, H, W] f32 -> [B, P, D] f32 with a gradient where gradients are enabled. `seeds`, one for
  // each picture, decide what stochastic depth drops; without seeds nothing is dropped.
  at::Tensor encode(const at::Tensor& pixels, std::span<const std::uint64_t> seeds) const;

  const Preprocessing& preprocessing() const { return preprocessing_; }
  // The weights under the model directory's names.
  const std::vector<NamedTensor>& parameters() const { return parameters_; }
  // The factor on the learning rate of each parameter: layer_decay^(L + 1 - layer), where L is the
  // number of blocks and layer is Vit::layer_of.
  const std::vector<double>& lr_scales() const { return lr_scales_; }

  // Writes the weights and the preprocessing into a model directory.
  void save(const std::filesystem::path& folder) const;

 private:
  Preprocessing preprocessing_;
  std::shared_ptr<Vit> vit_;
  VitStep step_;
  std::vector<NamedTensor> parameters_;
  std::vector<double> lr_scales_;
};

}  // namespace blip2

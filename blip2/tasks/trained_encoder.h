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

// How the recipe's pictures come to the image encoder of its `init`: as the directory's
// preprocessing says, at the recipe's image_size if it names one.
Preprocessing trained_preprocessing(const Recipe& recipe);

// The configuration of the encoder that the recipe trains, from that of `init`: without the blocks
// that no feature comes from, at the size of trained_preprocessing. Error if it is no vision
// transformer, or cannot take the size.
VitConfig trained_vision(const VisionConfig& vision, const Recipe& recipe);

// An image encoder that is trained beside the bridge (paper, section 4.2: fine-tuning). Weights and
// gradients are f32; with bf16 precision matrix products are in bf16 (autocast).
class TrainedEncoder {
 public:
  // With the weights of the recipe's `init`.
  TrainedEncoder(const Recipe& recipe, std::shared_ptr<const TensorFile> weights,
                 const VisionConfig& vision);

  // [B, 3, S, S] f32 -> [B, P, D] f32 with a gradient where gradients are enabled. `seeds` of the
  // pictures decide what stochastic depth drops; without any nothing is dropped.
  at::Tensor encode(const at::Tensor& pixels, std::span<const std::uint64_t> seeds) const;

  const Preprocessing& preprocessing() const { return preprocessing_; }
  // The weights under the model directory's names.
  const std::vector<NamedTensor>& parameters() const { return parameters_; }
  // Of each parameter, what its learning rate is multiplied by: layer_decay^(L + 1 - layer), L
  // being the number of blocks and layer that of Vit::layer_of.
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

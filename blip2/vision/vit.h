#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "blip2/nn/adopt.h"
#include "blip2/vision/image_encoder.h"
#include "blip2/vision/vit_config.h"
#include "blip2/vision/vit_layers.h"
#include "blip2/vision/vit_step.h"

namespace blip2 {

struct VitFamily;

// The weights of a vision transformer of any architecture; weights that it does not have are empty.
struct VitWeights {
  PatchEmbedding patches;
  at::Tensor class_embedding;     // [D] or [1, 1, D]
  at::Tensor registers;           // [1, R, D]
  at::Tensor position_embedding;  // [P, D] or [1, P, D]
  Norm patch_norm, first_norm, last_norm;
  std::vector<VitBlock> blocks;
};

// A vision transformer as an image encoder: one class, of which each architecture has some parts (a
// row of vit_families.cpp). It computes in its weights' type (f32, bf16, f16) and
// gives f32; gradients flow to parameters that require them. Matrices of a file in GGUF's blocks
// may stay in them (slots); their parameters are then the file's bytes [out, bytes of a row].
//
// Its parameters have no memory before they are loaded or initialised (see image_encoders.h).
class Vit : public ImageEncoder {
 public:
  // Throws the Error of check_vit_config.
  explicit Vit(const VitConfig& config);

  // Pictures [B, 3, H, W] of any sides where the architecture takes them (NaFlex): multiples of the
  // patch, of config().patches() patches at most. P is then the number of patches.

  at::Tensor forward(const at::Tensor& pixel_values) const override;
  // The features as a training step computes them.
  at::Tensor forward(const at::Tensor& pixel_values, const VitStep& step) const;
  std::int64_t positions() const override { return config_.positions(); }
  std::int64_t width() const override { return config_.hidden_size; }
  std::int64_t image_size() const override;
  nlohmann::json config_json() const override;
  void set_image_size(std::int64_t image_size) override;
  void take_pictures(const Preprocessing& preprocessing) override;

  const VitConfig& config() const { return config_; }

  // The slots of all parameters (nn/adopt.h), with the layers that filling makes ready.
  std::vector<TensorSlot> slots();
  // Call it once these have been filled with weights that will not change: from now on passes are
  // those of VitBlock::advance, without autograd, where no pixel needs a gradient.
  void freeze();

  // The layer of a parameter for layer-wise learning-rate decay (BEiT's and LAVIS's get_num_layer):
  // 0 before the blocks, 1 to L in the L blocks, L after the blocks.
  std::int64_t layer_of(const std::string& parameter) const;

 private:
  void check_pictures(const at::Tensor& pixel_values) const;
  at::Tensor features(const at::Tensor& pixel_values, VitStep step) const;
  at::Tensor positions_of(std::int64_t rows, std::int64_t columns) const;

  VitConfig config_;
  const VitFamily& family_;
  VitWeights weights_;
  bool frozen_ = false;
};

}  // namespace blip2

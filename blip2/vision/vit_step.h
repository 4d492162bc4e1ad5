#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <vector>

#include "blip2/vision/vit_layers.h"

namespace blip2 {

// Options of a vision transformer's pass. The defaults compute in the weights' type and drop
// nothing.
struct VitStep {
  // kBFloat16: matrix products in bf16, norms and sums in f32, over f32 weights that keep their
  // gradients (autocast).
  at::ScalarType type = at::kFloat;
  // Stochastic depth (Huang et al. 2016): the share of pictures that skip the branches of the last
  // block; it rises linearly from 0 in the first block. Branches that are not skipped are scaled
  // up.
  double drop_path = 0;
  // A seed for each picture, which alone decides the branches that the picture skips. Empty:
  // nothing is dropped.
  std::span<const std::uint64_t> seeds;
  // Keep only each block's input for the backward pass, which computes the block again.
  bool checkpointing = false;
  // The pass of a frozen encoder whose layers are ready (VitBlock::advance), a picture at a time.
  bool frozen = false;
  // Of architectures with rotary positions: set by Vit.
  PatchRotation rotation = {};
};

// The share of pictures that skip block `block` of `count`: drop_path * block / (count - 1).
double drop_share(double drop_path, std::int64_t block, std::int64_t count);

// The scales [2, B, 1, 1] of both branches of a block: 0 where a picture skips the branch,
// otherwise 1 / (1 - share).
at::Tensor branch_scales(std::span<const std::uint64_t> seeds, std::int64_t block, double share);

// Runs [B, P, D] through all blocks. A frozen encoder gives f32.
at::Tensor run_blocks(const std::vector<VitBlock>& blocks, at::Tensor x, const VitStep& step);

// The norm after the blocks on [B, P, D], which is f32 if the encoder is frozen.
at::Tensor last_norm(const Norm& norm, const at::Tensor& x, const VitStep& step);

// While an Autocast lives, matrix products of its thread are in `type` if that is kBFloat16.
class Autocast {
 public:
  explicit Autocast(at::ScalarType type);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool enabled_, cached_;
  at::ScalarType type_;
};

}  // namespace blip2

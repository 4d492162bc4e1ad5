#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "blip2/nn/linear.h"
#include "blip2/nn/norm.h"
#include "blip2/vision/vit_config.h"

namespace blip2 {

// The parts of vision transformers. Each part keeps handles of parameters that are registered in
// the encoder under the checkpoint's names.

// Registers a parameter at a dotted path of `root` and makes the modules on the way. The parameter
// has a shape but no memory: loading or initialising gives it values (set_data).
at::Tensor add_parameter(torch::nn::Module& root, const std::string& path, at::IntArrayRef shape);

// A linear layer of parameters "PATH.weight" [out, in] and "PATH.bias" [out].
Linear vit_linear(torch::nn::Module& root, const std::string& path, std::int64_t in,
                  std::int64_t out, bool with_bias = true);
// A LayerNorm of parameters "PATH.weight" and "PATH.bias" [width].
Norm vit_norm(torch::nn::Module& root, const std::string& path, std::int64_t width, double epsilon);

// The convolution whose stride is its kernel, as a product over patches.
struct PatchEmbedding {
  at::Tensor weight, bias;  // [D, 3, p, p], [D] or undefined
  PatchEmbedding() = default;
  PatchEmbedding(torch::nn::Module& root, const std::string& path, const VitConfig& config,
                 bool with_bias = true);
  // [B, 3, S, S] -> [B, N, D] in the weights' type, patches row-major
  at::Tensor operator()(const at::Tensor& pixel_values) const;
};

// The names of one block's members below its prefix, as "encoder.layers.0.". Without `fused_qkv`
// there are query, key and value; without `scale1` there is no layer scale.
struct VitBlockNames {
  const char *norm1, *norm2, *fused_qkv, *query, *key, *value, *output, *scale1, *scale2;
};

// The names of CLIP's blocks, which SigLIP has too.
inline constexpr VitBlockNames kClipBlockNames{.norm1 = "layer_norm1",
                                               .norm2 = "layer_norm2",
                                               .fused_qkv = nullptr,
                                               .query = "self_attn.q_proj",
                                               .key = "self_attn.k_proj",
                                               .value = "self_attn.v_proj",
                                               .output = "self_attn.out_proj",
                                               .scale1 = nullptr,
                                               .scale2 = nullptr};

// One pre-norm transformer block (Dosovitskiy et al. 2021), with DINOv2's layer scale and gated
// feed-forward where the configuration has them.
class VitBlock {
 public:
  VitBlock(torch::nn::Module& root, const std::string& path, const VitBlockNames& names,
           const VitConfig& config);
  // [B, P, D] -> [B, P, D]. `scales` [2, B, 1, 1]: factors on what attention and feed-forward add
  // for each picture; undefined: 1. `causal`: each position sees itself and those before it.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& scales = {},
                        bool causal = false) const;
  std::vector<at::Tensor> parameters() const;

  // The layers that hold parameters, which loading makes ready.
  std::vector<Linear*> linears();
  std::vector<Norm*> norms() { return {&norm1_, &norm2_}; }
  // The block of a frozen encoder whose layers are ready, for one picture: x [P, D] f32 becomes the
  // block's output. Between norms and sums numbers are of `type`; no autograd.
  void advance(at::Tensor& x, at::ScalarType type) const;

 private:
  at::Tensor attend(const at::Tensor& x, bool causal) const;
  at::Tensor feed_forward(const at::Tensor& x) const;
  at::Tensor activate(const at::Tensor& x) const;
  at::Tensor attend_frozen(const at::Tensor& x) const;
  at::Tensor activate_frozen(const at::Tensor& x) const;

  enum class Activation { gelu, gelu_tanh, quick_gelu };
  Activation activation_;
  std::int64_t heads_;
  Norm norm1_, norm2_;
  Linear qkv_, query_, key_, value_, output_;
  Linear in_, out_;
  at::Tensor scale1_, scale2_;  // [D] or undefined
  bool gated_;                  // in_ gives gate and value side by side
};

// The blocks "PREFIX0", "PREFIX1", …: config.layers() of them.
std::vector<VitBlock> vit_blocks(torch::nn::Module& root, const std::string& prefix,
                                 const VitBlockNames& names, const VitConfig& config);

// A table of position embeddings, resized from a grid of `from` x `from` patches to `to` x `to` by
// bicubic interpolation in f32. An embedding before the patches (the class token's) stays
// unchanged. [.., P, D] -> [.., P', D]
at::Tensor resize_positions(const at::Tensor& table, std::int64_t from, std::int64_t to,
                            bool align_corners);

}  // namespace blip2

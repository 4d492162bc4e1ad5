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
// A LayerNorm of parameters "PATH.weight" and "PATH.bias" [width], or an RMSNorm of the first.
Norm vit_norm(torch::nn::Module& root, const std::string& path, std::int64_t width, double epsilon,
              Norm::Kind kind = Norm::Kind::layer);

// The convolution whose stride is its kernel, as a product over patches.
struct PatchEmbedding {
  at::Tensor weight, bias;  // [D, 3, p, p], or [D, p p 3] in that order; [D] or undefined
  std::int64_t patch = 0;   // p
  PatchEmbedding() = default;
  PatchEmbedding(torch::nn::Module& root, const std::string& path, const VitConfig& config,
                 bool with_bias = true);
  // [B, 3, H, W] -> [B, N, D] in the weights' type, patches row-major
  at::Tensor operator()(const at::Tensor& pixel_values) const;
};

// The names of one block's members below its prefix, as "encoder.layers.0.". Without `fused_qkv`
// there are query, key and value; without `scale1` there is no layer scale. A gated feed-forward
// has its first matrices as `gate` and `in`, or as one: `fused_in`.
struct VitBlockNames {
  const char *norm1, *norm2, *fused_qkv = nullptr, *query = nullptr, *key = nullptr,
                             *value = nullptr, *output, *scale1 = nullptr, *scale2 = nullptr,
                             *in = "mlp.fc1", *out = "mlp.fc2", *gate = nullptr,
                             *fused_in = nullptr, *fused_out = nullptr;
};

// Rotations of the queries and keys of a picture's patches, which are the last N of its P
// positions: [N, D/2h] f32, for halves of a head. Undefined: nothing turns.
struct PatchRotation {
  at::Tensor cos, sin;
};
// DINOv3's: angles by the place of a patch in the picture, whose sides are -1 to 1. Half of each
// half turns by the row, the rest by the column.
PatchRotation patch_rotation(std::int64_t rows, std::int64_t columns, const VitConfig& config);

// The names of CLIP's blocks, which SigLIP has too.
inline constexpr VitBlockNames kClipBlockNames{.norm1 = "layer_norm1",
                                               .norm2 = "layer_norm2",
                                               .query = "self_attn.q_proj",
                                               .key = "self_attn.k_proj",
                                               .value = "self_attn.v_proj",
                                               .output = "self_attn.out_proj"};

// One pre-norm transformer block (Dosovitskiy et al. 2021), with layer scale, a gated feed-forward,
// RMSNorms and rotated patches where the architecture has them.
class VitBlock {
 public:
  VitBlock(torch::nn::Module& root, const std::string& path, const VitBlockNames& names,
           const VitConfig& config);
  // [B, P, D] -> [B, P, D]. `scales` [2, B, 1, 1]: factors on what attention and feed-forward add
  // for each picture; undefined: 1. `causal`: each position sees itself and those before it.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& scales = {},
                        const PatchRotation& rotation = {}, bool causal = false) const;
  std::vector<at::Tensor> parameters() const;

  // The layers that hold parameters, which loading makes ready.
  std::vector<Linear*> linears();
  std::vector<Norm*> norms() { return {&norm1_, &norm2_}; }
  // The block of a frozen encoder whose layers are ready, for one picture: x [P, D] f32 becomes the
  // block's output. Between norms and sums numbers are of `type`; no autograd.
  void advance(at::Tensor& x, at::ScalarType type, const PatchRotation& rotation) const;

 private:
  enum class Activation { gelu, gelu_tanh, quick_gelu, silu };
  static Activation activation_of(const VitConfig& config);
  void add_feed_forward(torch::nn::Module& root, const std::string& path,
                        const VitBlockNames& names, const VitConfig& config);
  at::Tensor attend(const at::Tensor& x, const PatchRotation& rotation, bool causal) const;
  at::Tensor feed_forward(const at::Tensor& x) const;
  at::Tensor activate(const at::Tensor& x) const;
  at::Tensor attend_frozen(const at::Tensor& x, const PatchRotation& rotation) const;
  at::Tensor activate_frozen(const at::Tensor& x) const;
  // Whether the activation adds the first product's bias.
  bool adds_bias() const;

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

// How a table of position embeddings is resized.
enum class TableFilter { bicubic, bicubic_aligned, bicubic_antialias, bilinear_antialias };

// A table of position embeddings, resized from a grid of `from` x `from` patches to `rows` x
// `columns` in f32. Embeddings before the patches (the class token's) stay unchanged. [.., P, D] ->
// [.., P', D]
at::Tensor resize_positions(const at::Tensor& table, std::int64_t from, std::int64_t rows,
                            std::int64_t columns, TableFilter filter);

// The table [rows * columns, D] f32 of sines and cosines of column and row, as AIMv2 has them.
at::Tensor wave_positions(std::int64_t rows, std::int64_t columns, std::int64_t width);

}  // namespace blip2

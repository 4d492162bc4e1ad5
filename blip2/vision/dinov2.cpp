// DINOv2's vision transformer (Oquab et al. 2023; transformers' Dinov2Model): layer scale, a gated
// feed-forward in the giant, a norm after the blocks. The class token's position is the first of
// the features, as in transformers' last_hidden_state. The mask token serves DINOv2's own training.
#include "blip2/vision/vit.h"

namespace blip2 {
namespace {

constexpr VitBlockNames kDinov2Names{.norm1 = "norm1",
                                     .norm2 = "norm2",
                                     .fused_qkv = nullptr,
                                     .query = "attention.attention.query",
                                     .key = "attention.attention.key",
                                     .value = "attention.attention.value",
                                     .output = "attention.output.dense",
                                     .scale1 = "layer_scale1.lambda1",
                                     .scale2 = "layer_scale2.lambda1"};

VitWeights build_dinov2(torch::nn::Module& root, const VitConfig& c) {
  VitWeights w;
  w.class_embedding = add_parameter(root, "embeddings.cls_token", {1, 1, c.hidden_size});
  w.position_embedding =
      add_parameter(root, "embeddings.position_embeddings", {1, c.positions(), c.hidden_size});
  w.patches = PatchEmbedding(root, "embeddings.patch_embeddings.projection", c);
  w.blocks = vit_blocks(root, "encoder.layer.", kDinov2Names, c);
  w.last_norm = vit_norm(root, "layernorm", c.hidden_size, c.layer_norm_eps);
  return w;
}

at::Tensor dinov2_features(const VitWeights& w, const at::Tensor& pixel_values,
                           const VitStep& step) {
  at::Tensor x = w.patches(pixel_values);  // [B, N, D]
  const at::Tensor first = w.class_embedding.expand({x.size(0), 1, -1});
  x = at::cat({first, x}, 1) + w.position_embedding;  // [B, P, D]
  x = run_blocks(w.blocks, x, step);                  // [B, P, D]
  return last_norm(w.last_norm, x, step);             // [B, P, D]
}

}  // namespace

const VitArchitecture kDinov2{build_dinov2, dinov2_features};

}  // namespace blip2

// CLIP's vision transformer (Radford et al. 2021; transformers' CLIPVisionModel): a norm before the
// blocks and none after them, since post_layernorm serves the pooled output alone. BLIP-2 takes the
// second to last block's output: feature_layers = 23 of ViT-L/14's 24.
#include "blip2/vision/vit.h"

namespace blip2 {
namespace {

VitWeights build_clip(torch::nn::Module& root, const VitConfig& c) {
  VitWeights w;
  w.class_embedding = add_parameter(root, "embeddings.class_embedding", {c.hidden_size});
  w.patches = PatchEmbedding(root, "embeddings.patch_embedding", c, /*with_bias=*/false);
  w.position_embedding =
      add_parameter(root, "embeddings.position_embedding.weight", {c.positions(), c.hidden_size});
  w.first_norm = vit_norm(root, "pre_layrnorm", c.hidden_size, c.layer_norm_eps);
  w.blocks = vit_blocks(root, "encoder.layers.", kClipBlockNames, c);
  return w;
}

at::Tensor clip_features(const VitWeights& w, const at::Tensor& pixel_values, const VitStep& step) {
  at::Tensor x = w.patches(pixel_values);  // [B, N, D]
  const at::Tensor first = w.class_embedding.expand({x.size(0), 1, -1});
  x = at::cat({first, x}, 1) + w.position_embedding;  // [B, P, D]
  x = w.first_norm(x);                                // [B, P, D]
  x = run_blocks(w.blocks, x, step);                  // [B, P, D]
  return x;
}

}  // namespace

const VitArchitecture kClipVit{build_clip, clip_features};

}  // namespace blip2

// SigLIP's vision transformer (Zhai et al. 2023; transformers' SiglipVisionModel): no class token,
// a norm after the blocks. Its pooling head is not used.
#include "blip2/vision/vit.h"

namespace blip2 {
namespace {

VitWeights build_siglip(torch::nn::Module& root, const VitConfig& c) {
  VitWeights w;
  w.patches = PatchEmbedding(root, "embeddings.patch_embedding", c);
  w.position_embedding =
      add_parameter(root, "embeddings.position_embedding.weight", {c.positions(), c.hidden_size});
  w.blocks = vit_blocks(root, "encoder.layers.", kClipBlockNames, c);
  w.last_norm = vit_norm(root, "post_layernorm", c.hidden_size, c.layer_norm_eps);
  return w;
}

at::Tensor siglip_features(const VitWeights& w, const at::Tensor& pixel_values,
                           const VitStep& step) {
  at::Tensor x = w.patches(pixel_values) + w.position_embedding;  // [B, P, D]
  x = run_blocks(w.blocks, x, step);                              // [B, P, D]
  return last_norm(w.last_norm, x, step);                         // [B, P, D]
}

}  // namespace

const VitArchitecture kSiglipVit{build_siglip, siglip_features};

}  // namespace blip2

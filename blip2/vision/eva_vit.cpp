// EVA-CLIP's ViT-g/14 as BLIP-2 and InstructBLIP use it (Fang et al. 2023; LAVIS's eva_vit.py):
// 39 of 40 blocks, features of all positions. Hugging Face's post_layernorm on them is BLIP-2's
// ln_vision, which is trained with the Q-Former and so belongs to the bridge.
#include "blip2/vision/vit.h"

namespace blip2 {
namespace {

constexpr VitBlockNames kEvaNames{.norm1 = "layer_norm1",
                                  .norm2 = "layer_norm2",
                                  .fused_qkv = "self_attn.qkv",
                                  .query = nullptr,
                                  .key = nullptr,
                                  .value = nullptr,
                                  .output = "self_attn.projection",
                                  .scale1 = nullptr,
                                  .scale2 = nullptr};

VitWeights build_eva(torch::nn::Module& root, const VitConfig& c) {
  VitWeights w;
  w.class_embedding = add_parameter(root, "embeddings.class_embedding", {1, 1, c.hidden_size});
  w.position_embedding =
      add_parameter(root, "embeddings.position_embedding", {1, c.positions(), c.hidden_size});
  w.patches = PatchEmbedding(root, "embeddings.patch_embedding", c);
  w.blocks = vit_blocks(root, "encoder.layers.", kEvaNames, c);
  return w;
}

at::Tensor eva_features(const VitWeights& w, const at::Tensor& pixel_values, const VitStep& step) {
  at::Tensor x = w.patches(pixel_values);  // [B, N, D]
  const at::Tensor first = w.class_embedding.expand({x.size(0), 1, -1});
  x = at::cat({first, x}, 1) + w.position_embedding;  // [B, P, D]
  x = run_blocks(w.blocks, x, step);                  // [B, P, D]
  return x;
}

}  // namespace

const VitArchitecture kEvaVit{build_eva, eva_features};

}  // namespace blip2

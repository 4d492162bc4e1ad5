#include "blip2/vision/vit_families_internal.h"

namespace blip2 {
namespace {

// EVA-CLIP's ViT-g/14 as BLIP-2 and InstructBLIP use it (Fang et al. 2023; LAVIS's eva_vit.py):
// 39 of 40 blocks, features of all positions. Hugging Face's post_layernorm on them is BLIP-2's
// ln_vision, which is trained with the Q-Former and so belongs to the bridge.
VitFamily eva() {
  return {.class_token = "embeddings.class_embedding",
          .positions = "embeddings.position_embedding",
          .patches = "embeddings.patch_embedding",
          .block = {.norm1 = "layer_norm1",
                    .norm2 = "layer_norm2",
                    .fused_qkv = "self_attn.qkv",
                    .output = "self_attn.projection"},
          .ignored = {"post_layernorm.*"}};
}

// CLIP (Radford et al. 2021; transformers' CLIPVisionModel): a norm before the blocks and none
// after them, since post_layernorm serves the pooled output alone. BLIP-2 takes the second to last
// block's output: feature_layers = 23 of ViT-L/14's 24.
VitFamily clip() {
  return {.class_token = "embeddings.class_embedding",
          .positions = "embeddings.position_embedding.weight",
          .patches = "embeddings.patch_embedding",
          .patch_bias = false,
          .first_norm = "pre_layrnorm",
          .block = kClipBlockNames,
          .flat = true,
          .ignored = {"post_layernorm.*"}};
}

// SigLIP (Zhai et al. 2023; transformers' SiglipVisionModel), and SigLIP 2 of a fixed picture size
// (Tschannen et al. 2025), which is the same: no class token, a norm after the blocks. Its pooling
// head is not used.
VitFamily siglip() {
  return {.positions = "embeddings.position_embedding.weight",
          .patches = "embeddings.patch_embedding",
          .last_norm = "post_layernorm",
          .block = kClipBlockNames,
          .flat = true,
          .ignored = {"head.*"}};
}

// SigLIP 2's NaFlex (transformers' Siglip2VisionModel): pictures of any aspect, to whose patches
// the table of positions is resized each time.
VitFamily naflex() {
  VitFamily family = siglip();
  family.filter = TableFilter::bilinear_antialias;
  return family;
}

// DINOv2 (Oquab et al. 2023; transformers' Dinov2Model): layer scale, a gated feed-forward in the
// giant, a norm after the blocks. The class token's position is the first of the features, as in
// transformers' last_hidden_state. The mask token serves DINOv2's own training.
VitFamily dinov2() {
  return {.class_token = "embeddings.cls_token",
          .positions = "embeddings.position_embeddings",
          .patches = "embeddings.patch_embeddings.projection",
          .last_norm = "layernorm",
          .blocks = "encoder.layer.",
          .block = {.norm1 = "norm1",
                    .norm2 = "norm2",
                    .query = "attention.attention.query",
                    .key = "attention.attention.key",
                    .value = "attention.attention.value",
                    .output = "attention.output.dense",
                    .scale1 = "layer_scale1.lambda1",
                    .scale2 = "layer_scale2.lambda1",
                    .fused_in = "mlp.weights_in",
                    .fused_out = "mlp.weights_out"},
          .ignored = {"embeddings.mask_token"}};
}

// DINOv2 with registers (Darcet et al. 2024; transformers' Dinov2WithRegistersModel): tokens
// without positions, which are features too, after the class token's.
VitFamily dinov2_with_registers() {
  VitFamily family = dinov2();
  family.registers = "embeddings.register_tokens";
  family.filter = TableFilter::bicubic_antialias;
  return family;
}

// DINOv3 (Siméoni et al. 2025; transformers' DINOv3ViTModel): patches turn queries and keys by
// their place in the picture, and there is no table of positions.
VitFamily dinov3() {
  return {.class_token = "embeddings.cls_token",
          .registers = "embeddings.register_tokens",
          .patches = "embeddings.patch_embeddings",
          .last_norm = "norm",
          .blocks = "layer.",
          .block = {.norm1 = "norm1",
                    .norm2 = "norm2",
                    .query = "attention.q_proj",
                    .key = "attention.k_proj",
                    .value = "attention.v_proj",
                    .output = "attention.o_proj",
                    .scale1 = "layer_scale1.lambda1",
                    .scale2 = "layer_scale2.lambda1",
                    .in = "mlp.up_proj",
                    .out = "mlp.down_proj",
                    .gate = "mlp.gate_proj"},
          .ignored = {"embeddings.mask_token"}};
}

// AIMv2 (Fini et al. 2024; transformers' Aimv2VisionModel): RMSNorms, one of them before positions,
// which are learned or, in the native models, sines and cosines. Its pooling head is not used.
VitFamily aimv2(bool native) {
  return {.positions = native ? nullptr : "embeddings.position_embedding.weight",
          .patches = "embeddings.patch_embed",
          .patch_norm = "embeddings.rms_norm",
          .last_norm = "rms_norm",
          .block = {.norm1 = "rms_norm1",
                    .norm2 = "rms_norm2",
                    .query = "attention.q_proj",
                    .key = "attention.k_proj",
                    .value = "attention.v_proj",
                    .output = "attention.out_proj",
                    .in = "ffn.up_proj",
                    .out = "ffn.down_proj",
                    .gate = "ffn.gate_proj"},
          .flat = true,
          .ignored = {"head.*"}};
}

}  // namespace

const VitFamily& vit_family(const VitConfig& c) {
  static const VitFamily kEva = eva(), kClip = clip(), kSiglip = siglip(), kNaflex = naflex(),
                         kDinov2 = dinov2(), kRegisters = dinov2_with_registers(),
                         kDinov3 = dinov3(), kAimv2 = aimv2(false), kNative = aimv2(true);
  if (c.is_eva()) return kEva;
  if (c.is_clip()) return kClip;
  if (c.is_naflex()) return kNaflex;
  if (c.is_dinov3()) return kDinov3;
  if (c.is_aimv2()) return c.is_native ? kNative : kAimv2;
  if (c.is_dinov2()) return c.model_type == "dinov2" ? kDinov2 : kRegisters;
  return kSiglip;
}

}  // namespace blip2

#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "blip2/io/fields.h"

namespace blip2 {

// The "vision_config" (or config.json) of a vision transformer under Hugging Face's keys. Which
// keys there are and their defaults follow from `model_type`: see vit_model_types().
struct VitConfig {
  std::string model_type = "blip_2_vision_model";
  std::int64_t hidden_size = 1408, intermediate_size = 6144, num_hidden_layers = 39,
               num_attention_heads = 16, image_size = 224, patch_size = 14;
  double layer_norm_eps = 1e-6;
  std::string hidden_act = "gelu";
  bool qkv_bias = true;                  // blip_2, instructblip, dinov2, aimv2
  std::int64_t feature_layers = 0;       // clip; 0: all blocks
  bool align_corners = false;            // clip
  std::int64_t mlp_ratio = 4;            // dinov2, instead of intermediate_size
  bool use_swiglu_ffn = false;           // dinov2
  std::int64_t num_register_tokens = 0;  // dinov2_with_registers, dinov3_vit
  bool query_bias = true, key_bias = false, value_bias = true, proj_bias = true;  // dinov3_vit
  bool mlp_bias = true;                                 // dinov3_vit, aimv2
  bool use_gated_mlp = false;                           // dinov3_vit
  double rope_theta = 100;                              // dinov3_vit
  double rms_norm_eps = 1e-5;                           // aimv2, instead of layer_norm_eps
  bool is_native = false;                               // aimv2
  std::int64_t num_patches = 256, max_num_patches = 0;  // siglip2, instead of image_size

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("model_type", self.model_type, "the architecture");
    visit("hidden_size", self.hidden_size, "hidden size");
    visit("num_hidden_layers", self.num_hidden_layers, "number of blocks");
    visit("num_attention_heads", self.num_attention_heads,
          "number of heads; it divides the hidden size");
    if (self.is_naflex()) {
      visit("num_patches", self.num_patches, "positions of the square table that is resized");
      visit("max_num_patches", self.max_num_patches, "most patches of a picture; 0: num_patches");
    } else {
      visit("image_size", self.image_size, "height and width of the input in pixels");
    }
    visit("patch_size", self.patch_size, "height and width of a patch in pixels");
    if (self.is_aimv2()) {
      visit("rms_norm_eps", self.rms_norm_eps, "added to a mean square before its square root");
    } else {
      visit("layer_norm_eps", self.layer_norm_eps, "added to a variance before its square root");
    }
    visit("hidden_act", self.hidden_act, "gelu, gelu_pytorch_tanh, quick_gelu or silu");
    if (self.is_dinov2()) {
      visit("mlp_ratio", self.mlp_ratio, "width inside the feed-forward over the width");
      visit("use_swiglu_ffn", self.use_swiglu_ffn, "gated feed-forward of two thirds the width");
    } else {
      visit("intermediate_size", self.intermediate_size, "width inside the feed-forward");
    }
    if (self.is_dinov2() || self.is_eva() || self.is_aimv2()) {
      visit("qkv_bias", self.qkv_bias, "bias of queries and values");
    }
    if (self.is_dinov3() || self.is_aimv2()) {
      visit("mlp_bias", self.mlp_bias, "biases of the feed-forward");
    }
    if (self.is_aimv2()) visit("is_native", self.is_native, "positions by sines and cosines");
    if (self.is_dinov3() || self.model_type == "dinov2_with_registers") {
      visit("num_register_tokens", self.num_register_tokens, "learned tokens before the patches");
    }
    if (self.is_dinov3()) {
      visit("query_bias", self.query_bias, "bias of queries");
      visit("key_bias", self.key_bias, "bias of keys");
      visit("value_bias", self.value_bias, "bias of values");
      visit("proj_bias", self.proj_bias, "bias of attention's output");
      visit("use_gated_mlp", self.use_gated_mlp, "gated feed-forward");
      visit("rope_theta", self.rope_theta, "base of the rotary positions");
    }
    if (self.is_clip()) {
      visit("feature_layers", self.feature_layers,
            "number of blocks to run (BLIP-2: all but the last); 0: all");
      visit("align_corners", self.align_corners,
            "another image size resizes the position embedding with its corners kept, as LAVIS "
            "does with CLIP's");
    }
  }

  // Hugging Face's defaults for a model_type; Error for an unknown one.
  static VitConfig of(const std::string& model_type);

  bool is_eva() const {
    return model_type == "blip_2_vision_model" || model_type == "instructblip_vision_model";
  }
  bool is_clip() const { return model_type == "clip_vision_model"; }
  bool is_dinov2() const { return model_type.starts_with("dinov2"); }
  bool is_dinov3() const { return model_type == "dinov3_vit"; }
  bool is_aimv2() const { return model_type == "aimv2_vision_model"; }
  // Pictures of any aspect (SigLIP 2's NaFlex).
  bool is_naflex() const { return model_type == "siglip2_vision_model"; }
  bool has_class_token() const { return is_eva() || is_clip() || is_dinov2() || is_dinov3(); }
  bool has_gated_mlp() const { return is_aimv2() || use_gated_mlp || use_swiglu_ffn; }
  std::int64_t layers() const { return feature_layers > 0 ? feature_layers : num_hidden_layers; }
  // Patches a side: of a picture, or of the table of an encoder for pictures of any aspect.
  std::int64_t grid() const;
  // The most patches of a picture, and the positions of its features. Where pictures have any
  // aspect, most of them have fewer.
  std::int64_t patches() const;
  std::int64_t positions() const { return tokens() + patches(); }
  // The positions before the patches: class token and registers.
  std::int64_t tokens() const { return (has_class_token() ? 1 : 0) + num_register_tokens; }
  double norm_eps() const { return is_aimv2() ? rms_norm_eps : layer_norm_eps; }
  std::int64_t feed_forward_width() const;
};

// blip_2_vision_model, instructblip_vision_model (EVA-CLIP as BLIP-2 cuts it), clip_vision_model,
// siglip_vision_model, siglip2_vision_model (NaFlex), dinov2, dinov2_with_registers, dinov3_vit,
// aimv2_vision_model.
const std::vector<std::string>& vit_model_types();

// Keys of Hugging Face that change nothing here (dropout is not applied) are ignored; Error for
// other unknown keys, sizes that contradict each other and activations that are not known.
VitConfig read_vit_config(const nlohmann::json& json, const std::string& where);
// The configuration as transformers reads it.
nlohmann::json write_vit_config(const VitConfig& config);
// Throws the Error of read_vit_config.
void check_vit_config(const VitConfig& config, const std::string& where);

// The object without keys that every Hugging Face configuration may have and that do not concern an
// encoder's computation.
nlohmann::json without_generic_keys(const nlohmann::json& json);

}  // namespace blip2

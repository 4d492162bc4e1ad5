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
  bool qkv_bias = true;             // blip_2, instructblip, dinov2
  std::int64_t feature_layers = 0;  // clip; 0: all blocks
  bool align_corners = false;       // clip
  std::int64_t mlp_ratio = 4;       // dinov2, instead of intermediate_size
  bool use_swiglu_ffn = false;      // dinov2

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    const bool dinov2 = self.model_type == "dinov2";
    visit("model_type", self.model_type, "the architecture");
    visit("hidden_size", self.hidden_size, "hidden size");
    visit("num_hidden_layers", self.num_hidden_layers, "number of blocks");
    visit("num_attention_heads", self.num_attention_heads,
          "number of heads; it divides the hidden size");
    visit("image_size", self.image_size, "height and width of the input in pixels");
    visit("patch_size", self.patch_size, "height and width of a patch in pixels");
    visit("layer_norm_eps", self.layer_norm_eps, "added to a variance before its square root");
    visit("hidden_act", self.hidden_act, "gelu, gelu_pytorch_tanh or quick_gelu");
    if (dinov2) {
      visit("mlp_ratio", self.mlp_ratio, "width inside the feed-forward over the width");
      visit("use_swiglu_ffn", self.use_swiglu_ffn, "gated feed-forward of two thirds the width");
    } else {
      visit("intermediate_size", self.intermediate_size, "width inside the feed-forward");
    }
    if (dinov2 || self.is_eva()) visit("qkv_bias", self.qkv_bias, "bias of queries and values");
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
  bool has_class_token() const { return model_type != "siglip_vision_model"; }
  std::int64_t layers() const { return feature_layers > 0 ? feature_layers : num_hidden_layers; }
  std::int64_t grid() const { return image_size / patch_size; }  // patches a side
  std::int64_t positions() const { return grid() * grid() + (has_class_token() ? 1 : 0); }
  std::int64_t feed_forward_width() const;
};

// blip_2_vision_model, instructblip_vision_model (EVA-CLIP as BLIP-2 cuts it), clip_vision_model,
// siglip_vision_model, dinov2.
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

#include "blip2/vision/vision_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "blip2/base/message_of.h"

namespace blip2 {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

VisionConfig read(const char* text, const std::string& fallback = {}) {
  return read_vision_config(json::parse(text), "config.json", fallback);
}

std::string refusal(const char* text) {
  return message_of([&] { read(text); });
}

TEST(VisionConfigTest, ReadsEveryKindAndWritesItBack) {
  for (const std::string& type : image_encoder_types()) {
    const json written = write_vision_config(read_vision_config({{"model_type", type}}, "c"));
    EXPECT_EQ(written["model_type"], type);
    EXPECT_EQ(write_vision_config(read_vision_config(written, "c")), written) << type;
    EXPECT_EQ(default_preprocessing(read_vision_config(written, "c")).width, 224);
  }
  const auto vit = std::get<VitConfig>(read(R"({"model_type": "blip_2_vision_model"})"));
  EXPECT_EQ(vit.positions(), 257);
  EXPECT_EQ(vit.feed_forward_width(), 6144);
}

TEST(VisionConfigTest, ReadsWhatHuggingFaceWrites) {
  // The first BLIP-2 directories: no model_type of their own, CLIP's keys left over.
  const auto old = read(R"({"dropout": 0.0, "initializer_factor": 1.0, "num_channels": 3,
      "projection_dim": 512, "top_k": 50, "torch_dtype": null})",
                        "blip_2_vision_model");
  EXPECT_EQ(std::get<VitConfig>(old).num_hidden_layers, 39);
  // A whole CLIP's config.json, and sides as pairs.
  const auto clip = read(R"({"model_type": "clip", "text_config": {}, "vision_config": {
      "model_type": "clip_vision_model", "image_size": [64, 64], "patch_size": 16}})");
  EXPECT_EQ(std::get<VitConfig>(clip).positions(), 17);
  const auto giant = read(R"({"model_type": "dinov2", "hidden_size": 1536, "mlp_ratio": 4.0,
      "num_attention_heads": 24, "use_swiglu_ffn": true, "image_size": 518})");
  EXPECT_EQ(std::get<VitConfig>(giant).feed_forward_width(), 4096);
}

TEST(VisionConfigTest, RefusesWithWhatWouldDo) {
  EXPECT_THAT(refusal(R"({"model_type": "vit_mae"})"),
              AllOf(HasSubstr("unknown image encoder 'vit_mae'"), HasSubstr("clip_vision_model"),
                    HasSubstr("siglip_vision_model"), HasSubstr("dinov2"), HasSubstr("resnet")));
  EXPECT_THAT(refusal(R"({"model_type": "dinov3"})"), HasSubstr("did you mean 'dinov"));
  EXPECT_THAT(refusal(R"({"model_type": "siglip2_vision_model", "num_patches": 250})"),
              HasSubstr("num_patches: expected a square number, got 250"));
  EXPECT_THAT(refusal(R"({"model_type": "siglip2_vision_model", "image_size": 224})"),
              HasSubstr("image_size"));
  EXPECT_THAT(refusal(R"({"model_type": "dinov3_vit", "rope_scaling": {"type": "x"}})"),
              HasSubstr("rope_scaling"));
  EXPECT_THAT(refusal(R"({"model_type": "dinov3_vit", "rope_theta": 0})"),
              HasSubstr("rope_theta: expected a number above 0"));
  EXPECT_THAT(refusal(R"({"model_type": "dinov3_vit", "num_attention_heads": 64})"),
              HasSubstr("heads of a multiple of 4, got 6"));
  EXPECT_THAT(refusal(R"({"model_type": "dinov3_vit", "num_register_tokens": -1})"),
              HasSubstr("num_register_tokens: expected 0 to"));
  EXPECT_THAT(refusal(R"({"model_type": "aimv2_vision_model", "layer_norm_eps": 1e-6})"),
              HasSubstr("layer_norm_eps"));
  EXPECT_THAT(refusal(R"({"model_type": "aimv2_vision_model", "rms_norm_eps": 2})"),
              HasSubstr("rms_norm_eps"));
  EXPECT_THAT(refusal(R"({"hidden_size": 4})"), HasSubstr("unknown image encoder ''"));
  EXPECT_THAT(refusal(R"([])"), HasSubstr("expected a table"));
  EXPECT_THAT(refusal(R"({"model_type": "clip_vision_model", "patch_sice": 8})"),
              HasSubstr("did you mean 'patch_size'"));
  EXPECT_THAT(refusal(R"({"model_type": "blip_2_vision_model", "image_size": 230})"),
              AllOf(HasSubstr("patch_size 14 divides, got 230"), HasSubstr("224 or 238")));
  EXPECT_THAT(refusal(R"({"model_type": "dinov2", "num_attention_heads": 7})"),
              HasSubstr("multiple of num_attention_heads"));
  EXPECT_THAT(refusal(R"({"model_type": "dinov2", "num_hidden_layers": 0})"),
              HasSubstr("num_hidden_layers: expected 1 to"));
  EXPECT_THAT(refusal(R"({"model_type": "clip_vision_model", "image_size": [224, 336]})"),
              HasSubstr("two equal ones"));
  EXPECT_THAT(refusal(R"({"model_type": "clip_vision_model", "num_channels": 1})"),
              HasSubstr("expected 3, got 1"));
  EXPECT_THAT(refusal(R"({"model_type": "clip_vision_model", "hidden_act": "relu"})"),
              HasSubstr("got 'relu'"));
  EXPECT_THAT(refusal(R"({"model_type": "clip_vision_model", "feature_layers": 13})"),
              HasSubstr("at most num_hidden_layers 12, got 13"));
  EXPECT_THAT(refusal(R"({"model_type": "resnet", "depths": [1]})"),
              HasSubstr("as many depths as hidden_sizes"));
  EXPECT_THAT(refusal(R"({"model_type": "resnet", "hidden_act": "gelu"})"),
              HasSubstr("hidden_act"));
  EXPECT_THAT(message_of([] { ResNetConfig::of(51); }), HasSubstr("50, 101 or 152"));
}

}  // namespace
}  // namespace blip2

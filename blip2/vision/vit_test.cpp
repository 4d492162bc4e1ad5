#include "blip2/vision/vit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "blip2/base/error.h"
#include "blip2/base/message_of.h"
#include "blip2/vision/image_encoders.h"

namespace blip2 {
namespace {

// Sets the named parameters of an encoder whose others are zero.
void set_values(ImageEncoder& encoder, const std::map<std::string, std::vector<float>>& values) {
  const torch::NoGradGuard no_grad;
  for (auto& item : encoder.named_parameters()) {
    at::Tensor& parameter = item.value();
    parameter.zero_();
    const auto found = values.find(item.key());
    if (found != values.end()) parameter.copy_(at::tensor(found->second).view(parameter.sizes()));
  }
}

VitConfig tiny(const std::string& type) {
  VitConfig c = VitConfig::of(type);
  c.hidden_size = 2;
  c.intermediate_size = c.num_hidden_layers = c.num_attention_heads = 1;
  c.image_size = c.patch_size = 1;
  c.layer_norm_eps = 1e-12;
  return c;
}

// One pixel (1, 2, 3) becomes (1, 3); the class token is (3, 1). Their norms are (-1, 1), (1, -1).
// Queries and keys are zero, so that both positions see the mean of the values, v's bias (0.5, 0).
// The feed-forward adds 2 gelu of the second channel of the norm, -1 or 1, to the first channel.
TEST(VitTest, OneBlockByHand) {
  const auto encoder = make_image_encoder(tiny("blip_2_vision_model"));
  set_values(*encoder, {{"embeddings.class_embedding", {3, 1}},
                        {"embeddings.patch_embedding.weight", {1, 0, 0, 0, 0, 1}},
                        {"encoder.layers.0.layer_norm1.weight", {1, 1}},
                        {"encoder.layers.0.self_attn.qkv.weight",
                         {0, 0, 0, 0, 0, 0,  //
                          0, 0, 1, 0, 0, 1}},
                        {"encoder.layers.0.self_attn.qkv.bias", {0, 0, 0, 0, 0.5, 0}},
                        {"encoder.layers.0.self_attn.projection.weight", {1, 0, 0, 1}},
                        {"encoder.layers.0.layer_norm2.weight", {1, 1}},
                        {"encoder.layers.0.mlp.fc1.weight", {0, 1}},
                        {"encoder.layers.0.mlp.fc2.weight", {2, 0}}});
  const at::Tensor features = encoder->forward(at::tensor({1.f, 2.f, 3.f}).view({1, 3, 1, 1}));
  const at::Tensor expected =
      at::tensor({3.5f - 2 * 0.158655f, 1.f, 1.5f + 2 * 0.841345f, 3.f}).view({1, 2, 2});
  EXPECT_TRUE(at::allclose(features, expected, 0, 1e-5)) << features;
}

TEST(VitTest, ResizesPositionsByHand) {
  // Without a row before: halving 2 x 2 takes the mean, bicubic weights being symmetric.
  const at::Tensor grid = at::tensor({0.f, 1.f, 2.f, 5.f}).view({4, 1});
  EXPECT_TRUE(
      at::allclose(resize_positions(grid, 2, 1, 1, TableFilter::bicubic), at::full({1, 1}, 2.f)));
  // With aligned corners they stay, and the centre is the mean; the row before stays.
  const at::Tensor table = at::tensor({9.f, 0.f, 1.f, 2.f, 5.f}).view({1, 5, 1});
  const at::Tensor larger = resize_positions(table, 2, 3, 3, TableFilter::bicubic_aligned);
  ASSERT_THAT(larger.sizes().vec(), testing::ElementsAre(1, 10, 1));
  const at::Tensor some = larger.flatten().index_select(0, at::tensor({0, 1, 3, 5, 7, 9}));
  EXPECT_TRUE(at::allclose(some, at::tensor({9.f, 0.f, 1.f, 2.f, 2.f, 5.f}))) << some;
  // Two rows become one, as the mean of what they were; columns stay.
  const at::Tensor flat = resize_positions(grid, 2, 1, 2, TableFilter::bilinear_antialias);
  EXPECT_TRUE(at::allclose(flat, at::tensor({1.f, 3.f}).view({2, 1}))) << flat;
}

// 2 x 1 patches at rows -1/2 and 1/2, column 0; a head of 4 has one speed, 2 pi, for each.
TEST(VitTest, TurnsPatchesByHand) {
  VitConfig c = VitConfig::of("dinov3_vit");
  c.hidden_size = 4, c.num_attention_heads = 1;
  const PatchRotation rotation = patch_rotation(2, 1, c);
  const at::Tensor cos = at::tensor({-1.f, 1.f, -1.f, 1.f}).view({2, 2});
  EXPECT_TRUE(at::allclose(rotation.cos, cos, 0, 1e-6)) << rotation.cos;
  EXPECT_TRUE(at::allclose(rotation.sin, at::zeros({2, 2}), 0, 1e-6)) << rotation.sin;
  c.hidden_size = 8;  // speeds 2 pi and 2 pi / 10, by rows and then by columns
  const at::Tensor angles = at::atan2(patch_rotation(1, 2, c).sin, patch_rotation(1, 2, c).cos);
  EXPECT_NEAR(angles[0][1].item<double>(), 0, 1e-6);
  EXPECT_NEAR(angles[0][3].item<double>(), -M_PI / 10, 1e-6);
  EXPECT_NEAR(angles[1][3].item<double>(), M_PI / 10, 1e-6);
}

TEST(VitTest, WavesByHand) {
  const at::Tensor table = wave_positions(2, 3, 4);  // sine, cosine of column, then of row
  const at::Tensor last = at::tensor({std::sin(2.f), std::cos(2.f), std::sin(1.f), std::cos(1.f)});
  ASSERT_EQ(table.sizes(), at::IntArrayRef({6, 4}));
  EXPECT_TRUE(at::allclose(table[0], at::tensor({0.f, 1.f, 0.f, 1.f})));
  EXPECT_TRUE(at::allclose(table[5], last)) << table[5];
}

VitConfig small(const std::string& type) {
  VitConfig c = VitConfig::of(type);
  c.hidden_size = 32;
  c.intermediate_size = 64;
  c.num_hidden_layers = 2;
  c.num_attention_heads = 4;
  c.image_size = 32;
  c.patch_size = 8;
  c.num_patches = 16;
  return c;
}

TEST(VitTest, ABatchAnswersAsItsPicturesAlone) {
  for (const std::string& type : vit_model_types()) {
    const auto encoder = make_image_encoder(small(type), 3);
    const torch::NoGradGuard no_grad;
    const at::Tensor pixels = torch::randn({5, 3, 32, 32});
    const at::Tensor all = encoder->forward(pixels);
    ASSERT_THAT(all.sizes().vec(), testing::ElementsAre(5, encoder->positions(), 32));
    for (std::int64_t i = 0; i < 5; ++i) {
      const at::Tensor alone = encoder->forward(pixels.slice(0, i, i + 1))[0];
      EXPECT_TRUE(at::allclose(alone, all[i], 1e-5, 1e-5)) << type;
    }
    EXPECT_EQ(encoder->forward(pixels.slice(0, 0, 0)).size(0), 0);
  }
}

TEST(VitTest, TakesAnotherSizeForGood) {
  const auto encoder = make_image_encoder(small("clip_vision_model"));
  EXPECT_EQ(encoder->positions(), 17);
  encoder->set_image_size(48);
  EXPECT_EQ(encoder->positions(), 37);
  EXPECT_EQ(encoder->config_json()["image_size"], 48);
  EXPECT_EQ(encoder->forward(torch::randn({1, 3, 48, 48})).size(1), 37);
  for (const auto& parameter : encoder->parameters()) EXPECT_TRUE(parameter.requires_grad());
  EXPECT_THROW(encoder->set_image_size(50), Error);
  EXPECT_EQ(encoder->image_size(), 48);
}

// Without a table any size will do.
TEST(VitTest, PlacesWithoutATableHaveNoSize) {
  VitConfig native = small("aimv2_vision_model");
  native.is_native = true;
  for (const VitConfig& config : {small("dinov3_vit"), native}) {
    const auto encoder = make_image_encoder(config, 3);
    const std::int64_t before = config.tokens();
    encoder->set_image_size(48);
    EXPECT_EQ(encoder->positions(), before + 36);
    EXPECT_EQ(encoder->forward(torch::randn({1, 3, 48, 48})).size(1), before + 36);
  }
}

TEST(VitTest, TakesPicturesOfAnyAspect) {
  const auto encoder = make_image_encoder(small("siglip2_vision_model"), 3);
  const torch::NoGradGuard no_grad;
  EXPECT_EQ(encoder->positions(), 16);
  EXPECT_EQ(encoder->image_size(), 32);
  EXPECT_EQ(encoder->forward(torch::randn({2, 3, 16, 40})).size(1), 10);
  EXPECT_EQ(encoder->forward(torch::randn({1, 3, 8, 128})).size(1), 16);
  EXPECT_THROW(encoder->forward(torch::randn({1, 3, 8, 136})), c10::Error);
  EXPECT_THROW(encoder->forward(torch::randn({1, 3, 12, 8})), c10::Error);
  EXPECT_THROW(encoder->forward(torch::randn({1, 3, 0, 8})), c10::Error);
  EXPECT_THROW(encoder->set_image_size(64), Error);

  Preprocessing pictures;
  EXPECT_THROW(encoder->take_pictures(pictures), Error);  // of one size
  pictures.max_num_patches = 20;
  EXPECT_THAT(message_of([&] { encoder->take_pictures(pictures); }),
              testing::HasSubstr("patch_size: expected 8, which the image encoder has, got 16"));
  pictures.patch_size = 8;
  encoder->take_pictures(pictures);
  EXPECT_EQ(encoder->positions(), 20);
  EXPECT_EQ(encoder->config_json()["max_num_patches"], 20);
  EXPECT_THROW(make_image_encoder(small("dinov2"))->take_pictures(pictures), Error);
}

TEST(VitTest, RefusesOtherShapes) {
  const auto encoder = make_image_encoder(small("dinov2"));
  EXPECT_THROW(encoder->forward(torch::randn({1, 3, 40, 40})), c10::Error);
  EXPECT_THROW(encoder->forward(torch::randn({1, 1, 32, 32})), c10::Error);
  EXPECT_THROW(encoder->forward(torch::randn({3, 32, 32})), c10::Error);
}

TEST(VitTest, EqualSeedsGiveEqualWeights) {
  const auto first = make_image_encoder(small("siglip_vision_model"), 5)->parameters();
  const auto again = make_image_encoder(small("siglip_vision_model"), 5)->parameters();
  const auto other = make_image_encoder(small("siglip_vision_model"), 6)->parameters();
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(at::equal(first[i], again[i]));
  EXPECT_FALSE(at::equal(first[0], other[0]));
}

}  // namespace
}  // namespace blip2

#include "blip2/vision/vit_step.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "blip2/vision/image_encoders.h"
#include "blip2/vision/vit.h"

namespace blip2 {
namespace {

std::shared_ptr<Vit> small_vit() {
  VitConfig config = VitConfig::of("clip_vision_model");
  config.hidden_size = 16, config.intermediate_size = 24, config.num_hidden_layers = 3;
  config.num_attention_heads = 2, config.image_size = 8, config.patch_size = 4;
  return std::dynamic_pointer_cast<Vit>(make_image_encoder(config, 1));
}

std::vector<std::uint64_t> seeds_of(std::size_t count) {
  std::vector<std::uint64_t> seeds(count);
  std::iota(seeds.begin(), seeds.end(), 100);
  return seeds;
}

TEST(StochasticDepth, SharesRiseLinearly) {
  EXPECT_EQ(drop_share(0.4, 0, 5), 0);
  EXPECT_DOUBLE_EQ(drop_share(0.4, 2, 5), 0.2);
  EXPECT_DOUBLE_EQ(drop_share(0.4, 4, 5), 0.4);
  EXPECT_EQ(drop_share(0.4, 0, 1), 0);
}

TEST(StochasticDepth, DropsItsShareAndKeepsTheExpectation) {
  constexpr std::int64_t kPictures = 20000;
  const auto seeds = seeds_of(kPictures);
  const at::Tensor scales = branch_scales(seeds, 7, 0.3);
  ASSERT_EQ(scales.sizes(), (at::IntArrayRef{2, kPictures, 1, 1}));
  for (const int branch : {0, 1}) {
    const at::Tensor dropped = scales[branch] == 0;
    EXPECT_TRUE(((scales[branch] - 1 / 0.7).abs() < 1e-6).logical_or(dropped).all().item<bool>());
    // Five standard deviations of a mean of Bernoulli draws.
    const double bound = 5 * std::sqrt(0.3 * 0.7 / kPictures);
    EXPECT_NEAR(dropped.to(at::kDouble).mean().item<double>(), 0.3, bound);
    EXPECT_NEAR(scales[branch].to(at::kDouble).mean().item<double>(), 1, bound / 0.7);
  }
  // Branches and blocks draw each for itself: both drop 0.3 * 0.3 of the pictures.
  const at::Tensor other = branch_scales(seeds, 8, 0.3);
  for (const at::Tensor& second : {scales[1], other[0]}) {
    const at::Tensor both = (scales[0] == 0).logical_and(second == 0);
    EXPECT_NEAR(both.to(at::kDouble).mean().item<double>(), 0.09, 0.011);
  }
}

TEST(StochasticDepth, WhatAPicturePassesByIsItsOwn) {
  const auto seeds = seeds_of(6);
  const at::Tensor all = branch_scales(seeds, 1, 0.5);
  EXPECT_TRUE(at::equal(all.narrow(1, 2, 3), branch_scales({seeds.data() + 2, 3}, 1, 0.5)));
}

TEST(StochasticDepth, NothingIsDroppedWithoutSeedsOrShare) {
  const auto vit = small_vit();
  const at::Tensor pixels = at::randn({3, 3, 8, 8}, at::detail::createCPUGenerator(2));
  const auto seeds = seeds_of(3);
  const at::Tensor plain = vit->forward(pixels);
  VitStep step;
  step.seeds = seeds;
  EXPECT_TRUE(at::equal(vit->forward(pixels, step), plain));
  step.drop_path = 0.9;
  EXPECT_FALSE(at::equal(vit->forward(pixels, step), plain));
  step.seeds = {};
  EXPECT_TRUE(at::equal(vit->forward(pixels, step), plain));
  step.seeds = {seeds.data(), 2};
  EXPECT_THROW(vit->forward(pixels, step), c10::Error);
}

TEST(Autocast, EndsWithItsScope) {
  const at::Tensor a = at::ones({2, 2});
  {
    const Autocast autocast(at::kBFloat16);
    EXPECT_EQ(at::mm(a, a).scalar_type(), at::kBFloat16);
    const Autocast none(at::kFloat);
    EXPECT_EQ(at::mm(a, a).scalar_type(), at::kFloat);
  }
  EXPECT_EQ(at::mm(a, a).scalar_type(), at::kFloat);
}

TEST(LayerDecay, LayersAreCountedFromTheEmbeddings) {
  const auto vit = small_vit();
  EXPECT_EQ(vit->layer_of("embeddings.class_embedding"), 0);
  EXPECT_EQ(vit->layer_of("pre_layrnorm.weight"), 0);
  EXPECT_EQ(vit->layer_of("encoder.layers.0.mlp.fc1.weight"), 1);
  EXPECT_EQ(vit->layer_of("encoder.layers.2.layer_norm1.bias"), 3);
  EXPECT_EQ(vit->layer_of("post_layernorm.weight"), 3);
}

}  // namespace
}  // namespace blip2

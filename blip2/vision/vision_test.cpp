#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/message_of.h"
#include "blip2/base/processor.h"
#include "blip2/io/safetensors.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/vision/image_encoders.h"

namespace blip2 {
namespace {

using testing::HasSubstr;

// "Same" padding of a 4 x 4 picture for a 3 x 3 kernel with stride 2: one row and column after it.
TEST(FoldedConvolutionTest, PadsAfterThePictureByHand) {
  torch::nn::Conv2d conv(torch::nn::Conv2dOptions(1, 1, 3).stride(2).bias(false));
  torch::nn::BatchNorm2d norm(torch::nn::BatchNorm2dOptions(1).eps(0));
  const torch::NoGradGuard no_grad;
  conv->weight.fill_(1);
  norm->running_mean.fill_(1);
  norm->running_var.fill_(4);
  norm->bias.fill_(0.5);
  const FoldedConvolution folded(*conv, *norm, 4, at::kFloat);
  const at::Tensor picture = torch::arange(16, at::kFloat).view({1, 1, 4, 4});
  // Sums of the windows at (0, 0), (0, 2), (2, 0), (2, 2): 45, 39, 66, 50; then (x - 1) / 2 + 0.5.
  const at::Tensor expected = torch::tensor({22.5, 19.5, 33.0, 25.0}).view({1, 1, 2, 2});
  EXPECT_TRUE(at::equal(folded.linear(picture), expected));
  EXPECT_TRUE(at::equal(folded.relu6(picture), at::full({1, 1, 2, 2}, 6.0f)));
  EXPECT_TRUE(at::equal(folded.plus(picture, expected), 2 * expected));
  EXPECT_EQ(folded.output_size(), 2);
}

EfficientNetLiteConfig small_config() {
  EfficientNetLiteConfig config;
  config.image_size = 64;
  return config;
}

std::shared_ptr<EfficientNetLite> random_network() {
  torch::manual_seed(1);
  auto network = std::make_shared<EfficientNetLite>(small_config());
  network->prepare();
  return network;
}

TEST(EfficientNetLiteTest, AnImagesFeaturesDoNotDependOnItsBatch) {
  const auto network = random_network();
  const at::Tensor pixels = torch::randn({7, 3, 64, 64});
  const at::Tensor all = network->forward(pixels);
  EXPECT_THAT(all.sizes().vec(), testing::ElementsAre(7, 4, 1280));
  EXPECT_EQ(network->positions(), 4);
  for (std::int64_t i = 0; i < 7; ++i) {
    EXPECT_TRUE(at::equal(network->forward(pixels.slice(0, i, i + 1))[0], all[i]));
  }
  EXPECT_EQ(network->forward(pixels.slice(0, 0, 0)).size(0), 0);
}

TEST(EfficientNetLiteTest, NorInBf16) {
  if (!processor().avx512) GTEST_SKIP() << "no bf16 convolutions";
  const auto network = random_network();
  network->prepare(at::kBFloat16);
  EXPECT_EQ(network->compute_type(), at::kBFloat16);
  const at::Tensor pixels = torch::randn({5, 3, 64, 64}), all = network->forward(pixels);
  for (std::int64_t i = 0; i < 5; ++i) {
    EXPECT_TRUE(at::equal(network->forward(pixels.slice(0, i, i + 1))[0], all[i]));
  }
}

TEST(EfficientNetLiteTest, TrainingCanSaveTheFeatures) {
  const auto network = random_network();
  const at::Tensor weight = torch::ones({1280}).requires_grad_();
  (network->forward(torch::randn({1, 3, 64, 64})) * weight).sum().backward();
  EXPECT_TRUE(weight.grad().defined());
}

TEST(EfficientNetLiteTest, RefusesAnotherSize) {
  EXPECT_THROW(random_network()->forward(torch::randn({1, 3, 65, 64})), c10::Error);
}

TEST(EfficientNetLiteTest, SavedWeightsAreTheUnfoldedOnes) {
  const auto path = std::filesystem::path(testing::TempDir()) /
                    ("efficientnet_" + std::to_string(::getpid()) + ".safetensors");
  const auto network = random_network();
  write_safetensors(path, views_of(*network, "vision_model."));
  const std::shared_ptr<const TensorFile> file = open_tensor_file(path);
  EXPECT_TRUE(file->find("vision_model.blocks.1.expand_conv.weight"));
  EXPECT_TRUE(file->find("vision_model.bn0.running_var"));
  const auto loaded = load_image_encoder(file, small_config(), "vision_model.");
  const at::Tensor pixels = torch::randn({1, 3, 64, 64});
  EXPECT_TRUE(at::equal(loaded->forward(pixels), network->forward(pixels)));

  EfficientNetLiteConfig other = EfficientNetLiteConfig::of("lite1");
  EXPECT_THAT(message_of([&] { load_image_encoder(file, other, "vision_model."); }),
              HasSubstr("expected shape [144, 1, 3, 3], got [144, 1, 5, 5]"));
  std::filesystem::remove(path);
}

TEST(EfficientNetLiteConfigTest, RoundTripsAndRefuses) {
  const auto read = [](const char* text) {
    return EfficientNetLiteConfig::from_json(nlohmann::json::parse(text), "config.json");
  };
  EXPECT_EQ(read(R"({"variant": "lite3"})").image_size, 280);
  EXPECT_EQ(read(R"({"variant": "lite3", "image_size": 64})").image_size, 64);
  EXPECT_EQ(EfficientNetLiteConfig::of("lite4").to_json().dump(),
            R"({"image_size":300,"model_type":"efficientnet_lite","variant":"lite4"})");
  EXPECT_THAT(message_of([&] { read(R"({"varient": "lite3"})"); }),
              HasSubstr("did you mean 'variant'"));
  EXPECT_THAT(message_of([&] { read(R"({"variant": "lite9"})"); }), HasSubstr("lite9"));
  EXPECT_THAT(message_of([&] { read(R"({"image_size": 0})"); }), HasSubstr("32 to 1024"));
  EXPECT_THAT(message_of([&] { read(R"({"model_type": "resnet"})"); }), HasSubstr("resnet"));
}

}  // namespace
}  // namespace blip2

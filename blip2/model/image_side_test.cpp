// In which type image encoders compute, and that features tell it.
#include "blip2/model/image_side.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "blip2/base/processor.h"
#include "blip2/io/safetensors.h"
#include "blip2/model/directory.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/vision/image_encoders.h"
#include "blip2/vision/resnet.h"

namespace blip2 {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

ResNetConfig small_resnet() {
  ResNetConfig config;
  config.embedding_size = 8;
  config.hidden_sizes = {8, 16};
  config.depths = {1, 1};
  config.layer_type = "basic";
  config.image_size = 32;
  return config;
}

VitConfig small_vit() {
  VitConfig config;
  config.model_type = "siglip_vision_model";
  config.hidden_size = 16;
  config.intermediate_size = 24;
  config.num_hidden_layers = 1;
  config.num_attention_heads = 2;
  config.image_size = 32;
  config.patch_size = 16;
  return config;
}

class ImageSideTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // An encoder's weights stored in a type, opened as a model directory's.
  ImageSide open(const VisionConfig& vision, at::ScalarType stored, const std::string& precision) {
    const auto encoder = make_image_encoder(vision, 1);
    encoder->to(stored);
    const auto path = folder_ / (std::string(c10::toString(stored)) + ".safetensors");
    write_safetensors(path, views_of(*encoder, kVisionPrefix));
    Preprocessing preprocessing;
    preprocessing.width = preprocessing.height = 32;
    if (const auto* vit = std::get_if<VitConfig>(&vision); vit && vit->is_naflex()) {
      preprocessing.image_processor_type = "Siglip2ImageProcessor";
      preprocessing.max_num_patches = 6;
    }
    save_preprocessing(preprocessing, folder_ / "preprocessor_config.json");
    Blip2Config config;
    config.vision = vision;
    config.qformer.encoder_hidden_size = encoder->width();
    return {folder_, open_tensor_file(path), config, precision};
  }

  std::filesystem::path folder_ = std::filesystem::path(::testing::TempDir()) /
                                  ("image_side_test_" + std::to_string(::getpid()));
};

// Convolutional encoders are faster and more exact in f32, whatever the rest computes in.
TEST_F(ImageSideTest, ConvolutionsComputeInF32) {
  for (const at::ScalarType stored : {at::kFloat, at::kBFloat16}) {
    for (const char* precision : {"auto", "f32", "bf16", "f16"}) {
      const ImageSide side = open(small_resnet(), stored, precision);
      EXPECT_EQ(side.encoder().compute_type(), at::kFloat) << precision;
    }
  }
}

TEST_F(ImageSideTest, TransformersComputeAsStoredUnlessAsked) {
  for (const at::ScalarType stored : {at::kFloat, at::kBFloat16, at::kHalf}) {
    EXPECT_EQ(open(small_vit(), stored, "auto").encoder().compute_type(), stored);
    EXPECT_EQ(open(small_vit(), stored, "bf16").encoder().compute_type(), at::kBFloat16);
    EXPECT_EQ(open(small_vit(), stored, "f32").encoder().compute_type(), at::kFloat);
  }
}

// Each of a batch has the features that it has alone, bit for bit, as many as it has patches.
TEST_F(ImageSideTest, PicturesOfAnyAspectAreEncodedAlone) {
  VitConfig vit = small_vit();
  vit.model_type = "siglip2_vision_model";
  vit.num_patches = 9;
  for (const char* precision : {"f32", "bf16"}) {
    const ImageSide side = open(vit, at::kFloat, precision);
    EXPECT_EQ(side.encoder().positions(), 6);
    const std::vector<at::Tensor> pictures{torch::randn({3, 32, 48}), torch::randn({3, 16, 16}),
                                           torch::randn({3, 96, 16}), torch::randn({3, 32, 48})};
    const ImageFeatures all = side.encode(pictures);
    EXPECT_THAT(all.positions, ::testing::ElementsAre(6, 1, 6, 6));
    for (std::int64_t i = 0; i < 4; ++i) {
      const ImageFeatures alone = side.encode({pictures[static_cast<std::size_t>(i)]});
      EXPECT_TRUE(at::equal(alone.rows, all.of(i))) << precision;
    }
    const ImageFeatures some = all.select(std::vector<std::int64_t>{2, 1, 2});
    EXPECT_TRUE(at::equal(some.of(2), all.of(2)) && at::equal(some.of(1), all.of(1)));
  }
}

// What a feature cache is known by.
TEST_F(ImageSideTest, TheDescriptionTellsTheType) {
  const auto path = folder_ / "weights.safetensors";
  write_safetensors(path, views_of(*make_image_encoder(small_resnet(), 1)));
  const auto described = [&](at::ScalarType type) {
    return describe_encoder(*load_image_encoder(open_tensor_file(path), small_resnet(), "", type));
  };
  const std::string f32 = described(at::kFloat);
  // As before the type was named: caches of f32 features stay valid.
  EXPECT_THAT(
      f32,
      EndsWith(
          load_image_encoder(open_tensor_file(path), small_resnet(), "")->config_json().dump()));
  EXPECT_THAT(f32, Not(HasSubstr("computed in")));
  if (!processor().avx512) GTEST_SKIP() << "no bf16 convolutions";
  EXPECT_NE(described(at::kBFloat16), f32);  // whose weights are bf16 too
  // The same weights, only the arithmetic differs.
  const auto resnet = load_image_encoder(open_tensor_file(path), small_resnet(), "");
  dynamic_cast<ResNet&>(*resnet).prepare(at::kBFloat16);
  EXPECT_EQ(describe_encoder(*resnet), f32 + " computed in BFloat16");
  EXPECT_NE(describe_encoder(open(small_vit(), at::kFloat, "bf16").encoder()),
            describe_encoder(open(small_vit(), at::kFloat, "f32").encoder()));
}

}  // namespace
}  // namespace blip2

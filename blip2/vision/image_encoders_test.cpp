#include "blip2/vision/image_encoders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "blip2/base/error.h"
#include "blip2/base/message_of.h"
#include "blip2/io/safetensors.h"
#include "blip2/nn/block_matrix.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/vision/foreign_names.h"
#include "blip2/vision/vit.h"

namespace blip2 {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

VitConfig small(const std::string& type) {
  VitConfig c = VitConfig::of(type);
  c.hidden_size = 32;
  c.intermediate_size = 48;
  c.num_hidden_layers = 2;
  c.num_attention_heads = 2;
  c.image_size = 16;
  c.patch_size = 8;
  c.num_patches = 4;
  return c;
}

ResNetConfig small_resnet() {
  ResNetConfig c;
  c.embedding_size = 8;
  c.hidden_sizes = {8, 16};
  c.depths = {1, 2};
  c.image_size = 32;
  return c;
}

class EncoderFileTest : public testing::Test {
 protected:
  std::filesystem::path path_ =
      std::filesystem::path(testing::TempDir()) /
      (std::string("encoder_") + testing::UnitTest::GetInstance()->current_test_info()->name());
  void TearDown() override { std::filesystem::remove(path_); }

  std::shared_ptr<const TensorFile> write(const std::vector<TensorView>& views) {
    write_safetensors(path_, views);
    return open_tensor_file(path_);
  }
  std::shared_ptr<const TensorFile> write(const torch::nn::Module& module,
                                          const std::string& prefix = {}) {
    return write(views_of(module, prefix));
  }
};

at::Tensor pictures(const ImageEncoder& encoder) {
  return torch::randn({2, 3, encoder.image_size(), encoder.image_size()});
}

TEST_F(EncoderFileTest, LoadsWhatWasSaved) {
  std::vector<VisionConfig> configs{small_resnet()};
  for (const std::string& type : vit_model_types()) configs.emplace_back(small(type));
  for (const VisionConfig& config : configs) {
    const auto encoder = make_image_encoder(config, 1);
    const auto file = write(*encoder, "vision_model.");
    EXPECT_EQ(find_encoder_prefix(*file, config), "vision_model.");
    const auto loaded = load_image_encoder(file, config, "vision_model.");
    EXPECT_EQ(write_vision_config(read_vision_config(loaded->config_json(), "c")),
              write_vision_config(config));
    const at::Tensor pixels = pictures(*encoder);
    EXPECT_TRUE(at::allclose(loaded->forward(pixels), encoder->forward(pixels), 1e-5, 1e-5));
    for (const auto& parameter : loaded->parameters()) EXPECT_FALSE(parameter.requires_grad());
  }
}

double cosine(const at::Tensor& a, const at::Tensor& b) {
  return at::cosine_similarity(a.flatten(), b.flatten(), 0).item<double>();
}

// Every architecture, gated feed-forwards included; activations of all kinds.
std::vector<VitConfig> transformers_of_all_kinds() {
  std::vector<VitConfig> configs;
  for (const std::string& type : vit_model_types()) configs.push_back(small(type));
  configs.push_back(small("dinov2"));
  configs.back().use_swiglu_ffn = true;
  for (const char* activation : {"gelu", "silu"}) {
    configs.push_back(small("dinov3_vit"));
    configs.back().use_gated_mlp = true;
    configs.back().num_register_tokens = 3;
    configs.back().hidden_act = activation;
  }
  configs.push_back(small("dinov3_vit"));
  configs.back().mlp_bias = false;
  configs.push_back(small("aimv2_vision_model"));
  configs.back().is_native = true;
  for (const char* activation : {"gelu", "gelu_pytorch_tanh", "quick_gelu", "silu"}) {
    configs.push_back(small("clip_vision_model"));
    configs.back().hidden_act = activation;
  }
  return configs;
}

// Weights that matter, and that let no rounding grow.
void amplify(ImageEncoder& encoder) {
  for (at::Tensor& parameter : encoder.parameters()) {
    parameter.mul_(parameter.dim() > 1 ? 5 : 1.5).add_(0.01);
  }
}

TEST_F(EncoderFileTest, AFrozenPassIsTheDifferentiableOne) {
  for (const VitConfig& config : transformers_of_all_kinds()) {
    const auto encoder = make_image_encoder(config, 1);
    const torch::NoGradGuard no_grad;
    amplify(*encoder);
    const at::Tensor pixels = pictures(*encoder), expected = encoder->forward(pixels);
    const auto file = write(*encoder);
    for (const MatrixForm form : {MatrixForm::stored, MatrixForm::packed}) {
      const auto load = [&](at::ScalarType type) {
        return load_image_encoder(file, config, "", type, false, form);
      };
      const at::Tensor exact = load(at::kFloat)->forward(pixels);
      EXPECT_TRUE(at::allclose(exact, expected, 1e-4, 1e-4)) << config.model_type;
      EXPECT_TRUE(at::equal(load(at::kFloat)->forward(pixels.narrow(0, 1, 1)),
                            exact.narrow(0, 1, 1)));  // a batch is its pictures alone
      EXPECT_GT(cosine(load(at::kBFloat16)->forward(pixels), expected), 0.9995);
      EXPECT_GT(cosine(load(at::kHalf)->forward(pixels), expected), 0.99999);
    }
  }
}

TEST_F(EncoderFileTest, MatricesStayInBlocks) {
  for (const VitConfig& config : transformers_of_all_kinds()) {
    const auto encoder = make_image_encoder(config, 1);
    const torch::NoGradGuard no_grad;
    amplify(*encoder);
    const at::Tensor pixels = pictures(*encoder), expected = encoder->forward(pixels);
    const std::vector<std::string> matrices = matrix_names(config);
    std::vector<TensorView> views = views_of(*encoder);
    std::vector<std::vector<std::byte>> bytes;
    std::size_t quantised = 0;
    for (TensorView& view : views) {
      const bool matrix = std::ranges::count(matrices, view.name) > 0;
      if (!matrix || view.shape[1] % 32 != 0) continue;
      bytes.push_back(quantise_matrix(encoder->named_parameters()[view.name], DType::q8_0));
      view.dtype = DType::q8_0, view.data = bytes.back(), ++quantised;
    }
    EXPECT_GT(quantised, 5u);
    const auto file = write(views);
    const auto blocks = load_image_encoder(file, config, "", at::kFloat, false, MatrixForm::blocks);
    const auto widened = load_image_encoder(file, config, "");
    EXPECT_GT(cosine(blocks->forward(pixels), expected), 0.999) << config.model_type;
    EXPECT_GT(cosine(blocks->forward(pixels), widened->forward(pixels)), 0.999);
    EXPECT_TRUE(at::equal(blocks->forward(pixels.narrow(0, 1, 1)),
                          blocks->forward(pixels).narrow(0, 1, 1)));
    EXPECT_EQ(blocks->named_parameters()[matrices[0]].scalar_type(), at::kByte);
    EXPECT_THAT(message_of([&] { load_image_encoder(file, config, "", at::kFloat, true); }),
                HasSubstr("the image encoder is quantised and cannot be trained"));
  }
}

// transformers' classes call DINOv3's blocks "model.layer.", its files "layer.".
TEST_F(EncoderFileTest, KnowsBothNamesOfDinov3sBlocks) {
  const VitConfig config = small("dinov3_vit");
  const auto encoder = make_image_encoder(config, 1);
  std::vector<TensorView> views = views_of(*encoder);
  for (TensorView& view : views) {
    if (view.name.starts_with("layer.")) view.name = "model." + view.name;
  }
  const auto file = write(views);
  EXPECT_EQ(find_encoder_prefix(*file, config), "");
  const at::Tensor pixels = pictures(*encoder);
  EXPECT_TRUE(at::allclose(load_image_encoder(file, config, "")->forward(pixels),
                           encoder->forward(pixels), 1e-5, 1e-5));
}

TEST_F(EncoderFileTest, KeepsEqualTypesInTheMappedFile) {
  const VitConfig config = small("siglip_vision_model");
  const auto file = write(*make_image_encoder(config));
  const TensorView& view = file->get("encoder.layers.0.mlp.fc1.weight");
  const auto weight = [&](at::ScalarType type, bool trainable) {
    return load_image_encoder(file, config, "", type, trainable)
        ->named_parameters()["encoder.layers.0.mlp.fc1.weight"];
  };
  EXPECT_EQ(weight(at::kFloat, false).const_data_ptr(), view.data.data());
  EXPECT_NE(weight(at::kFloat, true).const_data_ptr(), view.data.data());
  EXPECT_TRUE(weight(at::kFloat, true).requires_grad());
  EXPECT_EQ(weight(at::kHalf, false).scalar_type(), at::kHalf);
  EXPECT_EQ(load_image_encoder(file, config, "", at::kBFloat16)
                ->forward(torch::zeros({1, 3, 16, 16}))
                .scalar_type(),
            at::kFloat);
}

TEST_F(EncoderFileTest, ListsWhatDoesNotFit) {
  const VitConfig config = small("clip_vision_model");
  const auto file = write(*make_image_encoder(config));
  VitConfig other = config;
  other.num_hidden_layers = 1;
  EXPECT_THAT(message_of([&] { load_image_encoder(file, other, ""); }),
              HasSubstr("encoder.layers.1.layer_norm1.weight: not a tensor of this model"));
  other.num_hidden_layers = 3;
  EXPECT_THAT(message_of([&] { load_image_encoder(file, other, ""); }),
              HasSubstr("encoder.layers.2.layer_norm1.weight: missing, expected shape [32]"));
  other = config;
  other.image_size = 24;
  EXPECT_THAT(message_of([&] { load_image_encoder(file, other, ""); }),
              HasSubstr("position_embedding.weight: expected shape [10, 32], got [5, 32]"));
  EXPECT_THAT(message_of([&] { find_encoder_prefix(*file, small("dinov2")); }),
              HasSubstr("embeddings.patch_embeddings.projection.weight"));
}

TEST_F(EncoderFileTest, LeavesOutTheBlocksAfterTheFeatures) {
  VitConfig config = small("clip_vision_model");
  const auto whole = make_image_encoder(config);
  const auto file = write(*whole);
  config.feature_layers = 1;
  const auto cut = load_image_encoder(file, config, "");
  EXPECT_EQ(cut->config_json()["num_hidden_layers"], 1);
  EXPECT_FALSE(cut->config_json().contains("feature_layers"));
  EXPECT_LT(cut->parameters().size(), whole->parameters().size());
}

// Tensors as a file has them.
std::vector<TensorView> foreign(const std::map<std::string, at::Tensor>& tensors,
                                const std::string& prefix) {
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : tensors) views.push_back(view_of(prefix + name, tensor));
  return views;
}

TEST_F(EncoderFileTest, JoinsLavisBiases) {
  const VitConfig config = small("blip_2_vision_model");
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, tensor] : members_of(*make_image_encoder(config))) {
    const TensorRecipe recipe = foreign_recipe(config, name);
    for (const TensorPart& part : recipe.parts) {
      auto shape = tensor.sizes().vec();
      shape[0] /= std::ssize(recipe.parts);
      if (!part.source.empty()) tensors[part.source] = torch::randn(shape);
    }
  }
  EXPECT_TRUE(tensors.contains("blocks.1.attn.q_bias"));
  EXPECT_TRUE(tensors.contains("patch_embed.proj.weight"));
  const auto file = write(foreign(tensors, "visual_encoder."));
  EXPECT_EQ(find_encoder_prefix(*file, config), "visual_encoder.");
  const auto encoder = load_image_encoder(file, config, "visual_encoder.");
  const at::Tensor bias = encoder->named_parameters()["encoder.layers.1.self_attn.qkv.bias"];
  EXPECT_TRUE(at::equal(bias, at::cat({tensors["blocks.1.attn.q_bias"], at::zeros({32}),
                                       tensors["blocks.1.attn.v_bias"]})));

  tensors.erase("blocks.1.attn.v_bias");
  tensors["blocks.7.attn.proj.bias"] = torch::zeros({32});
  const auto broken = write(foreign(tensors, "visual_encoder."));
  EXPECT_THAT(message_of([&] { load_image_encoder(broken, config, "visual_encoder."); }),
              AllOf(HasSubstr("visual_encoder.blocks.1.attn.v_bias: missing"),
                    HasSubstr("visual_encoder.blocks.7.attn.proj.bias: not a tensor")));
}

TEST(ForeignNamesTest, SplitsClipAndNamesConvolutions) {
  const auto part_of = [](const auto& config, const std::string& name) {
    return foreign_recipe(config, name).parts.front();
  };
  const TensorPart value =
      part_of(small("clip_vision_model"), "encoder.layers.1.self_attn.v_proj.weight");
  EXPECT_EQ(value.source, "transformer.resblocks.1.attn.in_proj_weight");
  EXPECT_EQ(value.index, 2);
  EXPECT_EQ(value.of, 3);
  EXPECT_THAT(message_of([] { foreign_recipe(small("dinov2"), "layernorm.bias"); }),
              HasSubstr("EVA and CLIP"));
  const ResNetConfig resnet;
  EXPECT_EQ(part_of(resnet, "encoder.stages.1.layers.0.layer.2.normalization.running_var").source,
            "layer2.0.bn3.running_var");
  EXPECT_EQ(part_of(resnet, "encoder.stages.1.layers.0.shortcut.convolution.weight").source,
            "layer2.0.downsample.0.weight");
  EXPECT_EQ(part_of(resnet, "embedder.embedder.convolution.weight").source, "conv1.weight");
  const EfficientNetLiteConfig lite;
  EXPECT_EQ(part_of(lite, "blocks.3.bn1.weight").source, "_blocks.3._bn1.weight");
  EXPECT_EQ(part_of(lite, "conv_stem.weight").source, "_conv_stem.weight");
}

// A package's file: its names, and a classifier that no feature comes from.
TEST_F(EncoderFileTest, ReadsThePackageOfAnEfficientNetLite) {
  EfficientNetLiteConfig config;
  config.image_size = 32;
  const auto encoder = make_image_encoder(config, 1);
  std::map<std::string, at::Tensor> tensors{{"_fc.weight", torch::zeros({2, 1280})}};
  for (const auto& [name, tensor] : members_of(*encoder)) {
    tensors[foreign_recipe(config, name).parts.front().source] = tensor.detach();
  }
  const auto file = write(foreign(tensors, ""));
  const auto loaded = load_image_encoder(file, config, find_encoder_prefix(*file, config));
  const at::Tensor pixels = pictures(*encoder);
  EXPECT_TRUE(at::equal(loaded->forward(pixels), encoder->forward(pixels)));
  EXPECT_EQ(loaded->named_parameters()["conv_stem.weight"].const_data_ptr(),
            file->get("_conv_stem.weight").data.data());
  EXPECT_EQ(load_image_encoder(file, config, "", at::kHalf)
                ->named_parameters()["conv_stem.weight"]
                .scalar_type(),
            at::kFloat);

  tensors.erase("_blocks.2._bn1.weight");
  tensors["_bn0.bias"] = torch::zeros({5});
  const auto broken = write(foreign(tensors, ""));
  EXPECT_THAT(message_of([&] { load_image_encoder(broken, config, ""); }),
              AllOf(HasSubstr("2 tensors do not fit the image encoder"),
                    HasSubstr("_blocks.2._bn1.weight: missing, for blocks.2.bn1.weight of shape"),
                    HasSubstr("_bn0.bias, for bn0.bias: expected shape [32], got [5]")));
}

TEST(ResNetTest, AnImagesFeaturesDoNotDependOnItsBatch) {
  const auto network = make_image_encoder(small_resnet());
  const at::Tensor pixels = torch::randn({6, 3, 32, 32});
  const at::Tensor all = network->forward(pixels);
  ASSERT_THAT(all.sizes().vec(), testing::ElementsAre(6, network->positions(), 16));
  for (std::int64_t i = 0; i < 6; ++i) {
    EXPECT_TRUE(at::equal(network->forward(pixels.slice(0, i, i + 1))[0], all[i]));
  }
  network->set_image_size(100);
  EXPECT_EQ(network->forward(torch::randn({1, 3, 100, 100})).size(1), network->positions());
  EXPECT_THROW(network->forward(pixels), c10::Error);
  EXPECT_THROW(network->set_image_size(0), Error);
}

// Padding of kernel / 2 on both sides: sums of the windows at (-1, -1), (-1, 1), (1, -1), (1, 1).
TEST(FoldedConvolutionTest, PadsBothSidesByHand) {
  torch::nn::Conv2d conv(torch::nn::Conv2dOptions(1, 1, 3).stride(2).padding(1).bias(false));
  torch::nn::BatchNorm2d norm(torch::nn::BatchNorm2dOptions(1).eps(0));
  const torch::NoGradGuard no_grad;
  conv->weight.fill_(1);
  norm->bias.fill_(-20);
  const FoldedConvolution folded(*conv, *norm, 4, at::kFloat, Padding::symmetric);
  const at::Tensor picture = torch::arange(16, at::kFloat).view({1, 1, 4, 4});
  const at::Tensor sums = torch::tensor({10.0, 24.0, 51.0, 90.0}).view({1, 1, 2, 2}) - 20;
  EXPECT_TRUE(at::equal(folded.linear(picture), sums)) << folded.linear(picture);
  EXPECT_TRUE(at::equal(folded.relu(picture), sums.relu()));
  EXPECT_TRUE(at::equal(folded.relu_of_plus(picture, -sums - 1), at::zeros({1, 1, 2, 2})));
  EXPECT_EQ(folded.output_size(), 2);
}

}  // namespace
}  // namespace blip2

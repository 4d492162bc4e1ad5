#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "blip2/vision/folded_convolution.h"
#include "blip2/vision/image_encoder.h"

namespace blip2 {

// The "vision_config" (or config.json) of a ResNet under Hugging Face's keys and with its defaults,
// a ResNet-50; `image_size` is our own key.
struct ResNetConfig {
  std::string model_type = "resnet";
  std::int64_t embedding_size = 64;
  std::vector<std::int64_t> hidden_sizes = {256, 512, 1024, 2048}, depths = {3, 4, 6, 3};
  std::string layer_type = "bottleneck";
  bool downsample_in_first_stage = false, downsample_in_bottleneck = false;
  std::int64_t image_size = 224;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("model_type", self.model_type, "always resnet");
    visit("embedding_size", self.embedding_size, "channels of the stem");
    visit("hidden_sizes", self.hidden_sizes, "channels of each stage");
    visit("depths", self.depths, "layers of each stage");
    visit("layer_type", self.layer_type, "basic (ResNet-18, -34) or bottleneck");
    visit("downsample_in_first_stage", self.downsample_in_first_stage,
          "whether the first stage halves the picture too");
    visit("downsample_in_bottleneck", self.downsample_in_bottleneck,
          "whether a bottleneck's first convolution has the stride, not its second");
    visit("image_size", self.image_size, "height and width of the input in pixels");
  }

  // The configuration of a ResNet of 18, 34, 50, 101 or 152 layers; Error for another number.
  static ResNetConfig of(int layers);
  // Hugging Face's keys that change nothing here are ignored; Error for other unknown keys and for
  // impossible sizes.
  static ResNetConfig from_json(const nlohmann::json& json, const std::string& where);
  nlohmann::json to_json() const;  // as transformers reads it
};

// A convolution with its batch norm; the parameters are the unfolded weights.
struct ResNetConvolution : torch::nn::Module {
  ResNetConvolution(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride);
  // Builds `folded` and returns the output's height.
  std::int64_t prepare(std::int64_t input_size, at::ScalarType compute);

  torch::nn::Conv2d convolution{nullptr};
  torch::nn::BatchNorm2d normalization{nullptr};
  FoldedConvolution folded;
};

// A residual layer (He et al. 2016): two 3x3 convolutions, or 1x1, 3x3 and 1x1.
class ResNetLayer : public torch::nn::Module {
 public:
  ResNetLayer(const ResNetConfig& config, std::int64_t in, std::int64_t out, std::int64_t stride);
  std::int64_t prepare(std::int64_t input_size, at::ScalarType compute);
  at::Tensor forward(const at::Tensor& x) const;  // [B, C, H, W] -> [B, C', H', W']

 private:
  std::vector<std::shared_ptr<ResNetConvolution>> layer_;
  std::shared_ptr<ResNetConvolution> shortcut_;  // empty where the shapes agree
};

// ResNet as a frozen image encoder: the last stage's output, one position for each pixel. Member
// names are those of transformers' ResNetModel.
class ResNet : public ImageEncoder {
 public:
  explicit ResNet(const ResNetConfig& config);

  // Folds the parameters' present values into the convolutions that forward() runs, in `compute`
  // (kFloat or kBFloat16). Call it after the parameters have changed.
  void prepare(at::ScalarType compute = at::kFloat);

  // Without autograd; positions row-major. [B, 3, S, S] f32 -> [B, P, D] f32
  at::Tensor forward(const at::Tensor& pixel_values) const override;

  const ResNetConfig& config() const { return config_; }
  nlohmann::json config_json() const override { return config_.to_json(); }
  at::ScalarType compute_type() const override { return compute_; }
  std::int64_t positions() const override;
  std::int64_t width() const override { return config_.hidden_sizes.back(); }
  std::int64_t image_size() const override { return config_.image_size; }
  void set_image_size(std::int64_t image_size) override;

 private:
  at::Tensor features(const at::Tensor& pixel_values) const;
  ResNetConfig config_;
  at::ScalarType compute_ = at::kFloat;
  std::int64_t side_ = 0;  // of the output; 0 before prepare()
  std::shared_ptr<ResNetConvolution> stem_;
  std::vector<std::shared_ptr<ResNetLayer>> layers_;
};

}  // namespace blip2

#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "blip2/image/transform.h"
#include "blip2/vision/folded_convolution.h"
#include "blip2/vision/image_encoder.h"

namespace blip2 {

// The "vision_config" of a model directory whose image encoder is an EfficientNet-Lite.
struct EfficientNetLiteConfig {
  std::string model_type = "efficientnet_lite";
  std::string variant = "lite0";
  std::int64_t image_size = 224;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("model_type", self.model_type, "always efficientnet_lite");
    visit("variant", self.variant, "lite0 to lite4: width and depth of the network");
    visit("image_size", self.image_size, "height and width of the input in pixels");
  }

  // The configuration of a variant, "lite0" to "lite4", at the image size for which it was trained
  // (224, 240, 260, 280, 300).
  static EfficientNetLiteConfig of(const std::string& variant);
  // Error for an unknown key or variant and for an image size outside 32..1024. The default of
  // "image_size" is the variant's.
  static EfficientNetLiteConfig from_json(const nlohmann::json& json, const std::string& where);
  nlohmann::json to_json() const;
};

// The preprocessing of pictures for the network: resized to the variant's size, bicubic, and
// normalised by (x - 127) / 128 as in the TensorFlow release (efficientnet_lite_builder.py) from
// which the packages' weights come.
Preprocessing efficientnet_lite_preprocessing(const EfficientNetLiteConfig& config);

// Inverted residual block: expand 1x1, depthwise k x k, project 1x1, and the input added where
// the shapes agree (Sandler et al. 2018).
class InvertedResidual : public torch::nn::Module {
 public:
  InvertedResidual(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride,
                   std::int64_t expand);
  // Builds the folded convolutions and returns the output's height.
  std::int64_t prepare(std::int64_t input_size, at::ScalarType compute);
  at::Tensor forward(const at::Tensor& x) const;  // [B, C, H, W] -> [B, C', H', W']

 private:
  bool residual_;
  torch::nn::Conv2d expand_conv_{nullptr}, depthwise_conv_{nullptr}, project_conv_{nullptr};
  torch::nn::BatchNorm2d bn0_{nullptr}, bn1_{nullptr}, bn2_{nullptr};
  FoldedConvolution expand_, depthwise_, project_;
};

// EfficientNet-Lite (ReLU6, no squeeze-and-excitation; stem and head not scaled) as a frozen image
// encoder. Member names are those of the PyPI package efficientnet-lite-pytorch without the leading
// underscores. The parameters are the unfolded weights, and these are saved.
class EfficientNetLite : public ImageEncoder {
 public:
  explicit EfficientNetLite(const EfficientNetLiteConfig& config);

  // Folds the parameters' present values into the convolutions that forward() runs, in `compute`
  // (kFloat, or kBFloat16: about twice as fast, features to about 2 digits). Call it after the
  // parameters have changed.
  void prepare(at::ScalarType compute = at::kFloat);

  // The last 1x1 convolution's output after its activation, without autograd; positions row-major.
  // [B, 3, S, S] f32 -> [B, P, D] f32
  at::Tensor forward(const at::Tensor& pixel_values) const override;

  const EfficientNetLiteConfig& config() const { return config_; }
  nlohmann::json config_json() const override { return config_.to_json(); }
  at::ScalarType compute_type() const override { return compute_; }
  std::int64_t positions() const override;  // P = ceil(S / 32)^2
  std::int64_t width() const override;      // D = 1280
  std::int64_t image_size() const override { return config_.image_size; }
  void set_image_size(std::int64_t image_size) override;

 private:
  at::Tensor features(const at::Tensor& pixel_values) const;
  EfficientNetLiteConfig config_;
  at::ScalarType compute_ = at::kFloat;
  torch::nn::Conv2d conv_stem_{nullptr}, conv_head_{nullptr};
  torch::nn::BatchNorm2d bn0_{nullptr}, bn1_{nullptr};
  std::vector<std::shared_ptr<InvertedResidual>> blocks_;
  FoldedConvolution stem_, head_;
};

}  // namespace blip2

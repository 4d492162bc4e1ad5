#include "blip2/costs/part_size.h"

#include <numeric>
#include <string>
#include <utility>
#include <variant>

#include "blip2/vision/efficientnet_lite.h"
#include "blip2/vision/resnet.h"
#include "blip2/vision/vit.h"

namespace blip2 {
namespace {

using Int = std::int64_t;

Int half(Int side) {
  return (side + 1) / 2;
}

// Every product of a vision transformer is of all positions with a matrix, but the patches' own,
// whose matrix may have the dimensions of a convolution. The only other table is that of the
// positions.
double vit_flops(const Vit& vit) {
  const auto patches = static_cast<double>(vit.config().patches());
  const auto positions = static_cast<double>(vit.positions()),
             width = static_cast<double>(vit.width());
  double flops = 0;
  for (const auto& item : vit.named_parameters()) {
    const auto size = static_cast<double>(item.value().numel());
    const bool embeds = item.key().find("embedding") != std::string::npos;
    const bool of_patches = embeds && item.key().find("patch") != std::string::npos;
    if (of_patches && item.value().dim() > 1) flops += 2 * patches * size;
    if (item.value().dim() == 2 && !embeds) flops += 2 * positions * size;
  }
  return flops + 4 * positions * positions * width * static_cast<double>(vit.config().layers());
}

// Convolutions in the order in which they run. A shortcut reads what its layer reads.
double convolution_flops(const torch::nn::Module& network, Int side) {
  double flops = 0;
  std::string layer;
  Int layer_side = side;
  bool pooled = false;
  for (const auto& item : network.named_modules({}, /*include_self=*/false)) {
    const auto* convolution = item.value()->as<torch::nn::Conv2dImpl>();
    if (!convolution) continue;
    const std::string& name = item.key();
    if (!pooled && name.starts_with("encoder.")) {  // ResNet's pooling before its stages
      side = half(side);
      pooled = true;
    }
    const std::size_t inner = std::min(name.find(".shortcut."), name.find(".layer."));
    if (const std::string outer = name.substr(0, inner); outer != layer) {
      layer = outer;
      layer_side = side;
    }
    const auto& options = convolution->options;
    const bool halves = (*options.stride())[0] == 2;
    const bool shortcut = name.find(".shortcut.") != std::string::npos;
    const Int from = shortcut ? layer_side : side, out = halves ? half(from) : from;
    flops += 2 * static_cast<double>(convolution->weight.numel() * out * out);
    if (!shortcut) side = out;
  }
  return flops;
}

Int parameters_of(const torch::nn::Module& module) {
  Int count = 0;
  for (const at::Tensor& parameter : module.parameters()) count += parameter.numel();
  return count;
}

EncoderSize size_of(const ImageEncoder& encoder, Int pixels, double flops) {
  return {parameters_of(encoder), encoder.positions(), encoder.width(), 3 * pixels, flops};
}

}  // namespace

double total_of(const std::vector<std::int64_t>& lengths) {
  return static_cast<double>(std::accumulate(lengths.begin(), lengths.end(), Int{0}));
}

Flops product_flops(double rows, double ins, double outs, bool input_gradient,
                    bool weight_gradient) {
  const double once = 2 * rows * ins * outs;
  return {once, once * (input_gradient + weight_gradient)};
}

EncoderSize encoder_size(const VisionConfig& config) {
  if (const auto* vit = std::get_if<VitConfig>(&config)) {
    const Vit encoder(*vit);  // its parameters have shapes and no memory
    return size_of(encoder, vit->patches() * vit->patch_size * vit->patch_size, vit_flops(encoder));
  }
  if (const auto* resnet = std::get_if<ResNetConfig>(&config)) {
    const ResNet encoder(*resnet);
    return size_of(encoder, resnet->image_size * resnet->image_size,
                   convolution_flops(encoder, resnet->image_size));
  }
  const auto& lite = std::get<EfficientNetLiteConfig>(config);
  const EfficientNetLite encoder(lite);
  return size_of(encoder, lite.image_size * lite.image_size,
                 convolution_flops(encoder, lite.image_size));
}

}  // namespace blip2

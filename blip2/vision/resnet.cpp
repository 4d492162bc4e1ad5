#include "blip2/vision/resnet.h"

#include <fmt/format.h>

#include <memory>

#include "blip2/base/error.h"
#include "blip2/io/fields.h"
#include "blip2/vision/vit_config.h"

namespace blip2 {
namespace {

constexpr std::int64_t kReduction = 4;  // a bottleneck's outer channels over its inner ones
constexpr std::int64_t kLargestWidth = 1 << 16;

void check_resnet_size(std::int64_t size, const std::string& where) {
  need(size >= 32 && size <= 4096,
       fmt::format("expected an image_size from 32 to 4096, got {}", size), where);
}

void check(const ResNetConfig& c, const std::string& where) {
  need(c.model_type == "resnet", "expected model_type resnet, got '" + c.model_type + "'", where);
  need(c.layer_type == "basic" || c.layer_type == "bottleneck",
       "expected layer_type basic or bottleneck, got '" + c.layer_type + "'", where);
  need(!c.depths.empty() && c.depths.size() == c.hidden_sizes.size(),
       fmt::format("expected as many depths as hidden_sizes, got {} and {}", c.depths.size(),
                   c.hidden_sizes.size()),
       where);
  need(c.depths.size() <= 16, "expected at most 16 stages", where);
  const auto size = [&](std::int64_t value, const char* key) {
    need(value >= 1 && value <= kLargestWidth,
         fmt::format("{}: expected 1 to {}, got {}", key, kLargestWidth, value), where);
  };
  size(c.embedding_size, "embedding_size");
  for (const std::int64_t depth : c.depths) size(depth, "depths");
  for (const std::int64_t width : c.hidden_sizes) {
    size(width, "hidden_sizes");
    need(c.layer_type == "basic" || width >= kReduction,
         fmt::format("hidden_sizes: expected at least {}, got {}", kReduction, width), where);
  }
  check_resnet_size(c.image_size, where);
}

// The side after a convolution or pooling that pads kernel / 2 with stride 2.
std::int64_t half(std::int64_t side) {
  return (side + 1) / 2;
}

}  // namespace

ResNetConfig ResNetConfig::of(int layers) {
  ResNetConfig c;
  const bool basic = layers == 18 || layers == 34;
  if (basic) {
    c.layer_type = "basic";
    c.hidden_sizes = {64, 128, 256, 512};
  }
  if (layers == 18) c.depths = {2, 2, 2, 2};
  if (layers == 101) c.depths = {3, 4, 23, 3};
  if (layers == 152) c.depths = {3, 8, 36, 3};
  need(basic || layers == 50 || layers == 101 || layers == 152,
       fmt::format("expected a ResNet of 18, 34, 50, 101 or 152 layers, got {}", layers),
       "image encoder");
  return c;
}

ResNetConfig ResNetConfig::from_json(const nlohmann::json& json, const std::string& where) {
  nlohmann::json known = without_generic_keys(json);
  if (known.is_object()) {
    const std::pair<const char*, nlohmann::json> fixed[] = {{"hidden_act", "relu"},
                                                            {"num_channels", 3}};
    for (const auto& [key, value] : fixed) {
      const nlohmann::json got = known.value(key, value);
      need(got == value, fmt::format("{}: expected {}, got {}", key, value.dump(), got.dump()),
           where);
      known.erase(key);
    }
  }
  ResNetConfig config;
  read_fields(config, known, where);
  check(config, where);
  return config;
}

nlohmann::json ResNetConfig::to_json() const {
  nlohmann::json json = write_value(*this);
  json["hidden_act"] = "relu";
  json["num_channels"] = 3;
  return json;
}

ResNetConvolution::ResNetConvolution(std::int64_t in, std::int64_t out, std::int64_t kernel,
                                     std::int64_t stride) {
  convolution =
      register_module("convolution", torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, kernel)
                                                           .stride(stride)
                                                           .padding(kernel / 2)
                                                           .bias(false)));
  normalization = register_module("normalization", torch::nn::BatchNorm2d(out));
}

std::int64_t ResNetConvolution::prepare(std::int64_t input_size, at::ScalarType compute) {
  folded = FoldedConvolution(*convolution, *normalization, input_size, compute, Padding::symmetric);
  return folded.output_size();
}

ResNetLayer::ResNetLayer(const ResNetConfig& config, std::int64_t in, std::int64_t out,
                         std::int64_t stride) {
  const auto add = [&](std::int64_t from, std::int64_t to, std::int64_t kernel, std::int64_t step) {
    layer_.push_back(std::make_shared<ResNetConvolution>(from, to, kernel, step));
  };
  if (config.layer_type == "basic") {
    add(in, out, 3, stride);
    add(out, out, 3, 1);
  } else {
    const std::int64_t inner = out / kReduction;
    const bool first = config.downsample_in_bottleneck;
    add(in, inner, 1, first ? stride : 1);
    add(inner, inner, 3, first ? 1 : stride);
    add(inner, out, 1, 1);
  }
  if (in != out || stride != 1) {
    shortcut_ =
        register_module("shortcut", std::make_shared<ResNetConvolution>(in, out, 1, stride));
  }
  const auto list = register_module("layer", torch::nn::ModuleList());
  for (const auto& convolution : layer_) list->push_back(convolution);
}

std::int64_t ResNetLayer::prepare(std::int64_t input_size, at::ScalarType compute) {
  if (shortcut_) shortcut_->prepare(input_size, compute);
  std::int64_t size = input_size;
  for (const auto& convolution : layer_) size = convolution->prepare(size, compute);
  return size;
}

at::Tensor ResNetLayer::forward(const at::Tensor& x) const {
  at::Tensor h = x;
  for (std::size_t i = 0; i + 1 < layer_.size(); ++i) h = layer_[i]->folded.relu(h);
  const at::Tensor residual = shortcut_ ? shortcut_->folded.linear(x) : x;
  return layer_.back()->folded.relu_of_plus(h, residual);  // [B, C', H', W']
}

ResNet::ResNet(const ResNetConfig& config) : config_(config) {
  check(config, "vision_config");
  const auto embedder = register_module("embedder", std::make_shared<torch::nn::Module>());
  stem_ = embedder->register_module(
      "embedder", std::make_shared<ResNetConvolution>(3, config.embedding_size, 7, 2));
  const auto encoder = register_module("encoder", std::make_shared<torch::nn::Module>());
  const auto stages = encoder->register_module("stages", torch::nn::ModuleList());
  std::int64_t in = config.embedding_size;
  for (std::size_t s = 0; s < config.depths.size(); ++s) {
    const auto stage = std::make_shared<torch::nn::Module>();
    const auto list = stage->register_module("layers", torch::nn::ModuleList());
    for (std::int64_t i = 0; i < config.depths[s]; ++i) {
      const bool halves = i == 0 && (s > 0 || config.downsample_in_first_stage);
      layers_.push_back(
          std::make_shared<ResNetLayer>(config, in, config.hidden_sizes[s], halves ? 2 : 1));
      list->push_back(layers_.back());
      in = config.hidden_sizes[s];
    }
    stages->push_back(stage);
  }
}

void ResNet::prepare(at::ScalarType compute) {
  TORCH_CHECK(compute == at::kFloat || compute == at::kBFloat16, "compute in f32 or bf16");
  compute_ = compute;
  std::int64_t size = half(stem_->prepare(config_.image_size, compute));
  for (const auto& layer : layers_) size = layer->prepare(size, compute);
  side_ = size;
}

void ResNet::set_image_size(std::int64_t image_size) {
  check_resnet_size(image_size, "image size");
  config_.image_size = image_size;
  if (side_ > 0) prepare(compute_);
}

std::int64_t ResNet::positions() const {
  std::int64_t side = half(half(config_.image_size));
  const std::size_t kept = config_.downsample_in_first_stage ? 0 : 1;
  for (std::size_t s = kept; s < config_.depths.size(); ++s) side = half(side);
  return side * side;
}

at::Tensor ResNet::features(const at::Tensor& pixel_values) const {
  at::Tensor x = pixel_values.to(compute_, /*non_blocking=*/false, /*copy=*/false,
                                 at::MemoryFormat::ChannelsLast);  // [B, 3, S, S]
  x = stem_->folded.relu(x);                                       // [B, C, S/2, S/2]
  x = at::max_pool2d(x, 3, 2, 1);                                  // [B, C, S/4, S/4]
  for (const auto& layer : layers_) x = layer->forward(x);         // [B, D, H, W]
  return x.flatten(2).transpose(1, 2).to(at::kFloat);              // [B, P, D]
}

at::Tensor ResNet::forward(const at::Tensor& pixel_values) const {
  TORCH_CHECK(side_ > 0, "ResNet: call prepare() before forward()");
  check_input(pixel_values);
  // Made outside of inference mode: training may save it for its backward pass.
  const at::Tensor out = at::empty({pixel_values.size(0), positions(), width()}, at::kFloat);
  const c10::InferenceMode guard;
  const std::int64_t step = images_at_once(compute_);
  for (std::int64_t i = 0; i < pixel_values.size(0); i += step) {
    const std::int64_t end = std::min(i + step, pixel_values.size(0));
    out.slice(0, i, end).copy_(features(pixel_values.slice(0, i, end)));
  }
  return out;
}

}  // namespace blip2

#include "blip2/vision/efficientnet_lite.h"

#include <array>
#include <cmath>

#include "blip2/base/error.h"
#include "blip2/base/nearest.h"
#include "blip2/io/fields.h"

namespace blip2 {
namespace {

constexpr double kNormEpsilon = 1e-3;
constexpr std::int64_t kStemWidth = 32, kHeadWidth = 1280;

struct Variant {
  const char* name;
  double width, depth;
  std::int64_t image_size;
};
constexpr std::array<Variant, 5> kVariants{{{"lite0", 1.0, 1.0, 224},
                                            {"lite1", 1.0, 1.1, 240},
                                            {"lite2", 1.1, 1.2, 260},
                                            {"lite3", 1.2, 1.4, 280},
                                            {"lite4", 1.4, 1.8, 300}}};

struct Stage {
  std::int64_t repeats, kernel, stride, expand, in, out;
};
constexpr std::array<Stage, 7> kStages{{{1, 3, 1, 1, 32, 16},
                                        {2, 3, 2, 6, 16, 24},
                                        {2, 5, 2, 6, 24, 40},
                                        {3, 3, 2, 6, 40, 80},
                                        {3, 5, 1, 6, 80, 112},
                                        {4, 5, 2, 6, 112, 192},
                                        {1, 3, 1, 6, 192, 320}}};

const Variant& find_variant(const std::string& name, const std::string& where) {
  std::vector<std::string> names;
  for (const Variant& variant : kVariants) {
    if (name == variant.name) return variant;
    names.emplace_back(variant.name);
  }
  const std::string near = nearest_match(name, names);
  throw Error(fmt::format("unknown EfficientNet-Lite variant '{}'", name), where,
              near.empty() ? "expected lite0 to lite4" : fmt::format("did you mean '{}'?", near));
}

void check_image_size(std::int64_t size, const std::string& where) {
  if (size >= 32 && size <= 1024) return;
  throw Error(fmt::format("expected an image_size from 32 to 1024, got {}", size), where);
}

// Channels to a multiple of 8, not more than a tenth below `filters` x `multiplier`.
std::int64_t round_width(std::int64_t filters, double multiplier) {
  constexpr std::int64_t kDivisor = 8;
  const double exact = static_cast<double>(filters) * multiplier;
  const auto nearest = static_cast<std::int64_t>(exact + kDivisor / 2.0) / kDivisor * kDivisor;
  const std::int64_t rounded = std::max(kDivisor, nearest);
  return static_cast<double>(rounded) < 0.9 * exact ? rounded + kDivisor : rounded;
}

torch::nn::Conv2d convolution(std::int64_t in, std::int64_t out, std::int64_t kernel,
                              std::int64_t stride = 1, std::int64_t groups = 1) {
  return torch::nn::Conv2d(
      torch::nn::Conv2dOptions(in, out, kernel).stride(stride).groups(groups).bias(false));
}

torch::nn::BatchNorm2d norm(std::int64_t channels) {
  return torch::nn::BatchNorm2d(torch::nn::BatchNorm2dOptions(channels).eps(kNormEpsilon));
}

}  // namespace

EfficientNetLiteConfig EfficientNetLiteConfig::of(const std::string& variant) {
  EfficientNetLiteConfig config;
  config.variant = variant;
  config.image_size = find_variant(variant, "vision_config").image_size;
  return config;
}

EfficientNetLiteConfig EfficientNetLiteConfig::from_json(const nlohmann::json& json,
                                                         const std::string& where) {
  EfficientNetLiteConfig config;
  read_fields(config, json, where);
  if (config.model_type != "efficientnet_lite") {
    throw Error(fmt::format("expected model_type efficientnet_lite, got '{}'", config.model_type),
                where);
  }
  const Variant& variant = find_variant(config.variant, where);
  if (!json.contains("image_size")) config.image_size = variant.image_size;
  check_image_size(config.image_size, where);
  return config;
}

nlohmann::json EfficientNetLiteConfig::to_json() const {
  return write_value(*this);
}

Preprocessing efficientnet_lite_preprocessing(const EfficientNetLiteConfig& config) {
  Preprocessing preprocessing;
  preprocessing.width = preprocessing.height = static_cast<int>(config.image_size);
  preprocessing.filter = Filter::bicubic;
  preprocessing.mean.fill(127.0f / 255.0f);
  preprocessing.std.fill(128.0f / 255.0f);
  return preprocessing;
}

InvertedResidual::InvertedResidual(std::int64_t in, std::int64_t out, std::int64_t kernel,
                                   std::int64_t stride, std::int64_t expand)
    : residual_(stride == 1 && in == out) {
  const std::int64_t inner = in * expand;
  if (expand != 1) {
    expand_conv_ = register_module("expand_conv", convolution(in, inner, 1));
    bn0_ = register_module("bn0", norm(inner));
  }
  depthwise_conv_ =
      register_module("depthwise_conv", convolution(inner, inner, kernel, stride, inner));
  bn1_ = register_module("bn1", norm(inner));
  project_conv_ = register_module("project_conv", convolution(inner, out, 1));
  bn2_ = register_module("bn2", norm(out));
}

std::int64_t InvertedResidual::prepare(std::int64_t input_size, at::ScalarType compute) {
  if (expand_conv_) expand_ = FoldedConvolution(*expand_conv_, *bn0_, input_size, compute);
  depthwise_ = FoldedConvolution(*depthwise_conv_, *bn1_, input_size, compute);
  project_ = FoldedConvolution(*project_conv_, *bn2_, depthwise_.output_size(), compute);
  return project_.output_size();
}

at::Tensor InvertedResidual::forward(const at::Tensor& x) const {
  at::Tensor h = expand_conv_ ? expand_.relu6(x) : x;  // [B, E, H, W]
  h = depthwise_.relu6(h);                             // [B, E, H', W']
  return residual_ ? project_.plus(h, x) : project_.linear(h);
}

EfficientNetLite::EfficientNetLite(const EfficientNetLiteConfig& config) : config_(config) {
  const Variant& variant = find_variant(config.variant, "vision_config");
  conv_stem_ = register_module("conv_stem", convolution(3, kStemWidth, 3, 2));
  bn0_ = register_module("bn0", norm(kStemWidth));
  const auto list = register_module("blocks", torch::nn::ModuleList());
  std::int64_t in = kStemWidth;
  for (std::size_t s = 0; s < kStages.size(); ++s) {
    const Stage& stage = kStages[s];
    const bool fixed_depth = s == 0 || s + 1 == kStages.size();
    const double depth = fixed_depth ? 1.0 : variant.depth;
    const auto repeats =
        static_cast<std::int64_t>(std::ceil(depth * static_cast<double>(stage.repeats)));
    const std::int64_t out = round_width(stage.out, variant.width);
    for (std::int64_t r = 0; r < repeats; ++r) {
      const std::int64_t stride = r == 0 ? stage.stride : 1;
      blocks_.push_back(
          std::make_shared<InvertedResidual>(in, out, stage.kernel, stride, stage.expand));
      list->push_back(blocks_.back());
      in = out;
    }
  }
  conv_head_ = register_module("conv_head", convolution(in, kHeadWidth, 1));
  bn1_ = register_module("bn1", norm(kHeadWidth));
}

void EfficientNetLite::prepare(at::ScalarType compute) {
  TORCH_CHECK(compute == at::kFloat || compute == at::kBFloat16, "compute in f32 or bf16");
  compute_ = compute;
  stem_ = FoldedConvolution(*conv_stem_, *bn0_, config_.image_size, compute);
  std::int64_t size = stem_.output_size();
  for (const auto& block : blocks_) size = block->prepare(size, compute);
  head_ = FoldedConvolution(*conv_head_, *bn1_, size, compute);
}

void EfficientNetLite::set_image_size(std::int64_t image_size) {
  check_image_size(image_size, "image size");
  config_.image_size = image_size;
  if (head_.output_size() > 0) prepare(compute_);
}

std::int64_t EfficientNetLite::positions() const {
  const std::int64_t side = (config_.image_size + 31) / 32;
  return side * side;
}

std::int64_t EfficientNetLite::width() const {
  return kHeadWidth;
}

at::Tensor EfficientNetLite::features(const at::Tensor& pixel_values) const {
  at::Tensor x = pixel_values.to(compute_, /*non_blocking=*/false, /*copy=*/false,
                                 at::MemoryFormat::ChannelsLast);  // [B, 3, S, S]
  x = stem_.relu6(x);                                              // [B, 32, S/2, S/2]
  for (const auto& block : blocks_) x = block->forward(x);         // [B, C, S/32, S/32]
  x = head_.relu6(x);                                              // [B, D, S/32, S/32]
  return x.flatten(2).transpose(1, 2).to(at::kFloat);              // [B, P, D]
}

at::Tensor EfficientNetLite::forward(const at::Tensor& pixel_values) const {
  TORCH_CHECK(head_.output_size() > 0, "EfficientNetLite: call prepare() before forward()");
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

#include "blip2/vision/image_encoders.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/vision/foreign_names.h"
#include "blip2/vision/vit.h"

namespace blip2 {
namespace {

constexpr double kVitDeviation = 0.02;

std::shared_ptr<Vit> build(const VitConfig& config) {
  return std::make_shared<Vit>(config);
}
std::shared_ptr<ResNet> build(const ResNetConfig& config) {
  return std::make_shared<ResNet>(config);
}
std::shared_ptr<EfficientNetLite> build(const EfficientNetLiteConfig& config) {
  return std::make_shared<EfficientNetLite>(config);
}

void prepare(Vit&, at::ScalarType) {}
template <typename Convolutional>
void prepare(Convolutional& encoder, at::ScalarType dtype) {
  encoder.prepare(dtype == at::kBFloat16 ? at::kBFloat16 : at::kFloat);
}

at::Tensor random_values(const std::string& name, at::IntArrayRef shape, bool convolutional,
                         const at::Generator& generator) {
  if (name.ends_with(".bias")) return at::zeros(shape);
  const bool scale = name.ends_with(".weight") || name.ends_with(".lambda1");
  if (shape.size() == 1 && scale) return at::ones(shape);
  double deviation = kVitDeviation;
  if (convolutional)
    deviation = std::sqrt(2.0 / static_cast<double>(shape[0] * shape[2] * shape[3]));
  return at::randn(shape, generator) * deviation;
}

std::vector<std::string> ignored_of(const VitConfig& config) {
  std::vector<std::string> ignored{"embeddings.position_ids"};
  if (config.is_eva()) ignored.emplace_back("post_layernorm.*");
  if (config.model_type == "clip_vision_model") {
    ignored.emplace_back("post_layernorm.*");
    for (std::int64_t i = config.layers(); i < config.num_hidden_layers; ++i) {
      ignored.push_back(fmt::format("encoder.layers.{}.*", i));
    }
  }
  if (config.model_type == "siglip_vision_model") ignored.emplace_back("head.*");
  if (config.model_type == "dinov2") ignored.emplace_back("embeddings.mask_token");
  return ignored;
}
std::vector<std::string> ignored_of(const ResNetConfig&) {
  return {};
}

// The first tensor of each naming, Hugging Face's first.
std::vector<std::string> anchors_of(const VitConfig& config) {
  if (config.model_type == "dinov2") return {"embeddings.patch_embeddings.projection.weight"};
  if (config.is_eva()) return {"embeddings.patch_embedding.weight", "patch_embed.proj.weight"};
  if (config.model_type == "siglip_vision_model") return {"embeddings.patch_embedding.weight"};
  return {"embeddings.patch_embedding.weight", "conv1.weight"};
}
std::vector<std::string> anchors_of(const ResNetConfig&) {
  return {"embedder.embedder.convolution.weight", "conv1.weight"};
}
std::vector<std::string> anchors_of(const EfficientNetLiteConfig&) {
  return {"conv_stem.weight", "_conv_stem.weight"};
}

// The file under Hugging Face's names.
template <typename Config>
std::shared_ptr<const TensorFile> renamed(std::shared_ptr<const TensorFile> file,
                                          const Config& config, const std::string& prefix) {
  const auto anchors = anchors_of(config);
  if (file->find(prefix + anchors.front())) return file;
  if (anchors.size() < 2 || !file->find(prefix + anchors.back())) return file;
  if constexpr (std::is_same_v<Config, ResNetConfig>) {
    return recast(file, torchvision_recipes(config), torchvision_ignored(), prefix, prefix);
  } else {
    return recast(file, lavis_recipes(config), lavis_ignored(config), prefix, prefix);
  }
}

template <typename Config>
std::shared_ptr<ImageEncoder> load(std::shared_ptr<const TensorFile> file, const Config& config,
                                   const std::string& prefix, at::ScalarType dtype,
                                   bool trainable) {
  const auto encoder = build(config);
  LoadOptions options;
  options.prefix = prefix;
  options.part = "image encoder";
  options.optional = {"*.num_batches_tracked"};
  for (const std::string& name : ignored_of(config)) options.ignored.push_back(prefix + name);
  adopt_parameters(*encoder, renamed(std::move(file), config, prefix), dtype, trainable, options);
  for (auto& parameter : encoder->parameters()) parameter.set_requires_grad(trainable);
  if (!trainable) encoder->eval();
  prepare(*encoder, dtype);
  return encoder;
}

std::shared_ptr<ImageEncoder> load(const std::shared_ptr<const TensorFile>& file,
                                   const EfficientNetLiteConfig& config, const std::string& prefix,
                                   at::ScalarType dtype, bool /*trainable*/) {
  return load_efficientnet_lite(*file, config, prefix,
                                dtype == at::kBFloat16 ? at::kBFloat16 : at::kFloat);
}

}  // namespace

std::shared_ptr<ImageEncoder> make_image_encoder(const VisionConfig& config, std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(derive_seed(seed));
  const bool convolutional = !std::holds_alternative<VitConfig>(config);
  return std::visit(
      [&](const auto& kind) -> std::shared_ptr<ImageEncoder> {
        const auto encoder = build(kind);
        for (auto& item : encoder->named_parameters()) {
          item.value().set_data(
              random_values(item.key(), item.value().sizes(), convolutional, generator));
        }
        prepare(*encoder, at::kFloat);
        return encoder;
      },
      config);
}

std::shared_ptr<ImageEncoder> load_image_encoder(std::shared_ptr<const TensorFile> file,
                                                 const VisionConfig& config,
                                                 const std::string& prefix, at::ScalarType dtype,
                                                 bool trainable) {
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf,
              "image encoder: weights are f32, bf16 or f16");
  TORCH_CHECK(!trainable || std::holds_alternative<VitConfig>(config),
              "image encoder: only vision transformers train");
  return std::visit(
      [&](const auto& kind) { return load(std::move(file), kind, prefix, dtype, trainable); },
      config);
}

std::string find_encoder_prefix(const TensorFile& file, const VisionConfig& config) {
  const auto anchors = std::visit([](const auto& kind) { return anchors_of(kind); }, config);
  for (const char* prefix :
       {"", "vision_model.", "vision_model.vision_model.", "dinov2.", "resnet.", "visual_encoder.",
        "model.visual_encoder.", "model.vision_model."}) {
    for (const std::string& anchor : anchors) {
      if (file.find(prefix + anchor)) return prefix;
    }
  }
  throw Error(fmt::format("has no image encoder of this kind: expected a tensor {}",
                          fmt::join(anchors, " or ")),
              file.path().string());
}

}  // namespace blip2

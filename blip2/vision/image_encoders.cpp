#include "blip2/vision/image_encoders.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "blip2/base/error.h"
#include "blip2/base/random.h"
#include "blip2/nn/adopt.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/vision/foreign_names.h"
#include "blip2/vision/vit.h"
#include "blip2/vision/vit_families_internal.h"

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
std::vector<TensorSlot> encoder_slots(Vit& encoder) {
  return encoder.slots();
}
std::vector<TensorSlot> encoder_slots(const torch::nn::Module& encoder) {
  return slots_of(encoder);
}

// The parameters of matrices in blocks become the file's bytes.
void finish(Vit& encoder, const std::shared_ptr<const TensorFile>& file,
            const std::vector<TensorSlot>& slots, const std::string& prefix, bool trainable) {
  if (trainable) return;
  const c10::InferenceMode no_inference(false);
  encoder.freeze();
  for (const TensorSlot& slot : slots) {
    if (!slot.blocks || !slot.blocks->defined()) continue;
    TensorView view = file->get(prefix + slot.name);
    const auto bytes = static_cast<std::int64_t>(view.data.size());
    view.dtype = DType::u8;
    view.shape = {view.shape[0], bytes / view.shape[0]};
    at::Tensor(slot.tensor()).set_data(borrow(view, file));
  }
}
void finish(torch::nn::Module& encoder, const std::shared_ptr<const TensorFile>&,
            const std::vector<TensorSlot>&, const std::string&, bool) {
  for (at::Tensor& parameter : encoder.parameters()) parameter.set_requires_grad(false);
  encoder.eval();
}

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

// What a Hugging Face directory may have beside the encoder's tensors.
std::vector<std::string> ignored_of(const VitConfig& config) {
  const VitFamily& family = vit_family(config);
  std::vector<std::string> ignored = family.ignored;
  for (std::int64_t i = config.layers(); i < config.num_hidden_layers; ++i) {
    ignored.push_back(fmt::format("{}{}.*", family.blocks, i));
  }
  return ignored;
}
template <typename Convolutional>
std::vector<std::string> ignored_of(const Convolutional&) {
  return {};
}

// The first tensor of each naming, Hugging Face's first.
std::vector<std::string> anchors_of(const VitConfig& config) {
  // transformers' own classes call DINOv3's blocks otherwise than its files do.
  if (config.is_dinov3()) return {"layer.0.norm1.weight", "model.layer.0.norm1.weight"};
  const std::string patches = std::string(vit_family(config).patches) + ".weight";
  if (config.is_eva()) return {patches, "patch_embed.proj.weight"};
  if (config.is_clip()) return {patches, "conv1.weight"};
  return {patches};
}
std::vector<std::string> anchors_of(const ResNetConfig&) {
  return {"embedder.embedder.convolution.weight", "conv1.weight"};
}
std::vector<std::string> anchors_of(const EfficientNetLiteConfig&) {
  return {"conv_stem.weight", "_conv_stem.weight"};
}

// Whether the file has the encoder by the other naming's names.
template <typename Config>
bool is_foreign(const TensorFile& file, const Config& config, const std::string& prefix) {
  const auto anchors = anchors_of(config);
  return !file.find(prefix + anchors.front()) && file.find(prefix + anchors.back());
}

template <typename Config>
std::shared_ptr<ImageEncoder> load(std::shared_ptr<const TensorFile> file, const Config& config,
                                   const std::string& prefix, at::ScalarType dtype, bool trainable,
                                   MatrixForm form) {
  const auto encoder = build(config);
  const std::vector<TensorSlot> slots = encoder_slots(*encoder);
  // An EfficientNet-Lite keeps its unfolded weights in f32.
  const bool lite = std::is_same_v<Config, EfficientNetLiteConfig>;
  AdoptOptions options{.part = "image encoder",
                       .type = lite ? at::kFloat : dtype,
                       .own = trainable,
                       .form = form,
                       .prefix = prefix,
                       .optional = {"*.num_batches_tracked"},
                       .ignored = ignored_of(config)};
  if (is_foreign(*file, config, prefix)) {
    std::vector<TensorRecipe> recipes;
    for (const TensorSlot& slot : slots) recipes.push_back(foreign_recipe(config, slot.name));
    file = recast(std::move(file), recipes, prefix);
    options.ignored = foreign_ignored(config);
  }
  adopt(file, slots, options);
  finish(*encoder, file, slots, prefix, trainable);
  prepare(*encoder, dtype);
  return encoder;
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
                                                 bool trainable, MatrixForm form) {
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf,
              "image encoder: weights are f32, bf16 or f16");
  TORCH_CHECK(!trainable || std::holds_alternative<VitConfig>(config),
              "image encoder: only vision transformers train");
  if (trainable && has_blocks(*file, prefix)) {
    throw Error("the image encoder is quantised and cannot be trained", file->path().string(),
                "start from the model that it was converted from");
  }
  return std::visit(
      [&](const auto& kind) { return load(std::move(file), kind, prefix, dtype, trainable, form); },
      config);
}

bool has_blocks(const TensorFile& file, const std::string& prefix) {
  return std::ranges::any_of(file.tensors(), [&](const TensorView& view) {
    return view.name.starts_with(prefix) && is_block_type(view.dtype);
  });
}

std::vector<std::string> matrix_names(const VitConfig& config) {
  std::vector<std::string> names;
  for (const TensorSlot& slot : Vit(config).slots()) {
    if (slot.blocks) names.push_back(slot.name);
  }
  return names;
}

std::string find_encoder_prefix(const TensorFile& file, const VisionConfig& config) {
  const auto anchors = std::visit([](const auto& kind) { return anchors_of(kind); }, config);
  for (const char* prefix : {"", "vision_model.", "vision_model.vision_model.", "dinov2.",
                             "dinov2_with_registers.", "dinov3_vit.", "resnet.", "visual_encoder.",
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

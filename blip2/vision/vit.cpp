#include "blip2/vision/vit.h"

#include <cstdlib>
#include <unordered_map>

namespace blip2 {
namespace {

const VitArchitecture& architecture_of(const VitConfig& config) {
  check_vit_config(config, "vision_config");
  if (config.is_eva()) return kEvaVit;
  if (config.model_type == "clip_vision_model") return kClipVit;
  if (config.model_type == "siglip_vision_model") return kSiglipVit;
  return kDinov2;
}

}  // namespace

Vit::Vit(const VitConfig& config)
    : config_(config),
      architecture_(architecture_of(config)),
      weights_(architecture_.build(*this, config)) {}

at::Tensor Vit::forward(const at::Tensor& pixel_values) const {
  return forward(pixel_values, VitStep{});
}

at::Tensor Vit::forward(const at::Tensor& pixel_values, const VitStep& step) const {
  check_input(pixel_values);
  TORCH_CHECK(step.seeds.empty() || std::ssize(step.seeds) == pixel_values.size(0),
              "image encoder: a seed for each picture");
  const bool with_gradient = at::GradMode::is_enabled() && pixel_values.requires_grad();
  if (frozen_ && step.seeds.empty() && !with_gradient) {
    const at::NoGradGuard no_grad;
    VitStep frozen = step;
    frozen.frozen = true;
    return architecture_.features(weights_, pixel_values, frozen);  // [B, P, D]
  }
  const Autocast autocast(step.type);
  return architecture_.features(weights_, pixel_values, step).to(at::kFloat);  // [B, P, D]
}

std::vector<TensorSlot> Vit::slots() {
  std::unordered_map<const c10::TensorImpl*, Linear*> linears;
  std::unordered_map<const c10::TensorImpl*, Norm*> norms;
  const auto add_norm = [&](Norm& norm) {
    if (!norm.defined()) return;
    norms[norm.weight.unsafeGetTensorImpl()] = norms[norm.bias.unsafeGetTensorImpl()] = &norm;
  };
  add_norm(weights_.first_norm), add_norm(weights_.last_norm);
  for (VitBlock& block : weights_.blocks) {
    for (Norm* norm : block.norms()) add_norm(*norm);
    for (Linear* linear : block.linears()) {
      linears[linear->weight().unsafeGetTensorImpl()] = linear;
      if (linear->bias().defined()) linears[linear->bias().unsafeGetTensorImpl()] = linear;
    }
  }
  std::vector<TensorSlot> slots = slots_of(*this);
  for (TensorSlot& slot : slots) {
    const c10::TensorImpl* parameter = slot.tensor().unsafeGetTensorImpl();
    if (const auto found = norms.find(parameter); found != norms.end()) slot.norm = found->second;
    const auto found = linears.find(parameter);
    if (found == linears.end()) continue;
    slot.linear = found->second;
    if (slot.is_matrix()) slot.blocks = &slot.linear->parts[0].blocks;
  }
  return slots;
}

void Vit::freeze() {
  for (at::Tensor& parameter : parameters()) parameter.set_requires_grad(false);
  eval();
  frozen_ = true;
}

std::int64_t Vit::layer_of(const std::string& parameter) const {
  const bool before = parameter.starts_with("embeddings.") || parameter.starts_with("pre_layrnorm");
  if (before) return 0;
  for (const char* blocks : {"encoder.layers.", "encoder.layer."}) {
    if (!parameter.starts_with(blocks)) continue;
    return 1 + std::atoll(parameter.c_str() + std::string_view(blocks).size());
  }
  return config_.layers();
}

nlohmann::json Vit::config_json() const {
  VitConfig built = config_;
  built.num_hidden_layers = built.layers();
  built.feature_layers = 0;
  return write_vit_config(built);
}

void Vit::set_image_size(std::int64_t image_size) {
  VitConfig resized = config_;
  resized.image_size = image_size;
  check_vit_config(resized, "image size");
  if (resized.grid() != config_.grid()) {
    const torch::NoGradGuard no_grad;
    weights_.position_embedding.set_data(resize_positions(
        weights_.position_embedding, config_.grid(), resized.grid(), config_.align_corners));
  }
  config_ = resized;
}

}  // namespace blip2

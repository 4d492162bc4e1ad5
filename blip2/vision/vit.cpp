#include "blip2/vision/vit.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <unordered_map>

#include "blip2/base/error.h"
#include "blip2/nn/tensor_bridge.h"
#include "blip2/vision/vit_families_internal.h"

namespace blip2 {
namespace {

const VitFamily& checked_family(const VitConfig& config) {
  check_vit_config(config, "vision_config");
  return vit_family(config);
}

// Registers the members in the order in which they are seeded.
VitWeights build(torch::nn::Module& root, const VitFamily& family, const VitConfig& c) {
  const std::int64_t width = c.hidden_size, table = c.positions() - c.num_register_tokens;
  using Shape = std::vector<std::int64_t>;
  VitWeights w;
  if (family.class_token) {
    w.class_embedding =
        add_parameter(root, family.class_token, family.flat ? Shape{width} : Shape{1, 1, width});
  }
  if (family.registers) {
    w.registers = add_parameter(root, family.registers, {1, c.num_register_tokens, width});
  }
  if (family.positions && !family.flat) {
    w.position_embedding = add_parameter(root, family.positions, {1, table, width});
  }
  w.patches = PatchEmbedding(root, family.patches, c, family.patch_bias);
  const Norm::Kind kind = c.is_aimv2() ? Norm::Kind::rms : Norm::Kind::layer;
  const auto norm = [&](const char* name) {
    return name ? vit_norm(root, name, width, c.norm_eps(), kind) : Norm();
  };
  w.patch_norm = norm(family.patch_norm);
  if (family.positions && family.flat) {
    const std::int64_t rows = c.is_naflex() ? c.num_patches : table;
    w.position_embedding = add_parameter(root, family.positions, {rows, width});
  }
  w.first_norm = norm(family.first_norm);
  w.blocks = vit_blocks(root, family.blocks, family.block, c);
  w.last_norm = norm(family.last_norm);
  return w;
}

TableFilter filter_of(const VitFamily& family, const VitConfig& config) {
  return config.align_corners ? TableFilter::bicubic_aligned : family.filter;
}

}  // namespace

Vit::Vit(const VitConfig& config)
    : config_(config), family_(checked_family(config)), weights_(build(*this, family_, config)) {}

at::Tensor Vit::forward(const at::Tensor& pixel_values) const {
  return forward(pixel_values, VitStep{});
}

at::Tensor Vit::forward(const at::Tensor& pixel_values, const VitStep& step) const {
  check_pictures(pixel_values);
  TORCH_CHECK(step.seeds.empty() || std::ssize(step.seeds) == pixel_values.size(0),
              "image encoder: a seed for each picture");
  const bool with_gradient = at::GradMode::is_enabled() && pixel_values.requires_grad();
  if (frozen_ && step.seeds.empty() && !with_gradient) {
    const at::NoGradGuard no_grad;
    VitStep frozen = step;
    frozen.frozen = true;
    return features(pixel_values, frozen);  // [B, P, D]
  }
  const Autocast autocast(step.type);
  return features(pixel_values, step).to(at::kFloat);  // [B, P, D]
}

void Vit::check_pictures(const at::Tensor& pixel_values) const {
  if (!config_.is_naflex()) return check_input(pixel_values);
  const std::int64_t p = config_.patch_size;
  const bool fits = pixel_values.dim() == 4 && pixel_values.size(1) == 3 &&
                    pixel_values.size(2) % p == 0 && pixel_values.size(3) % p == 0;
  const std::int64_t patches = fits ? pixel_values.size(2) / p * (pixel_values.size(3) / p) : 0;
  TORCH_CHECK(patches >= 1 && patches <= config_.patches(),
              "image encoder: expected pixel_values [B, 3, H, W] of 1 to ", config_.patches(),
              " patches of ", p, " x ", p, ", got ", shape_text(pixel_values.sizes()));
}

// What is added to class token and patches: [P - R, D] or [1, P - R, D]; undefined: nothing.
at::Tensor Vit::positions_of(std::int64_t rows, std::int64_t columns) const {
  const at::Tensor& table = weights_.position_embedding;
  if (config_.is_native) return wave_positions(rows, columns, config_.hidden_size);
  if (!config_.is_naflex()) return table;
  return resize_positions(table, config_.grid(), rows, columns, family_.filter);
}

at::Tensor Vit::features(const at::Tensor& pixel_values, VitStep step) const {
  const VitWeights& w = weights_;
  const std::int64_t batch = pixel_values.size(0), p = config_.patch_size;
  const std::int64_t rows = pixel_values.size(2) / p, columns = pixel_values.size(3) / p;
  const at::ScalarType type = w.patches.weight.scalar_type();
  at::Tensor x = w.patches(pixel_values);                               // [B, N, D]
  if (w.patch_norm.defined()) x = w.patch_norm(x).to(x.scalar_type());  // [B, N, D]
  if (w.class_embedding.defined()) {
    x = at::cat({w.class_embedding.view({1, 1, -1}).expand({batch, -1, -1}), x}, 1);
  }
  const at::Tensor positions = positions_of(rows, columns);
  if (positions.defined()) x = x + positions.to(type);  // [B, P - R, D]
  if (w.registers.defined()) {
    x = at::cat({x.narrow(1, 0, 1), w.registers.expand({batch, -1, -1}), x.slice(1, 1)}, 1);
  }
  if (w.first_norm.defined()) x = w.first_norm(x);  // [B, P, D]
  if (config_.is_dinov3()) step.rotation = patch_rotation(rows, columns, config_);
  x = run_blocks(w.blocks, x, step);                                   // [B, P, D]
  return w.last_norm.defined() ? last_norm(w.last_norm, x, step) : x;  // [B, P, D]
}

std::vector<TensorSlot> Vit::slots() {
  struct Place {
    Linear* linear;
    std::size_t part;
  };
  std::unordered_map<const c10::TensorImpl*, Place> linears;
  std::unordered_map<const c10::TensorImpl*, Norm*> norms;
  const auto add_norm = [&](Norm& norm) {
    for (const at::Tensor* part : {&norm.weight, &norm.bias}) {
      if (part->defined()) norms[part->unsafeGetTensorImpl()] = &norm;
    }
  };
  add_norm(weights_.patch_norm), add_norm(weights_.first_norm), add_norm(weights_.last_norm);
  for (VitBlock& block : weights_.blocks) {
    for (Norm* norm : block.norms()) add_norm(*norm);
    for (Linear* linear : block.linears()) {
      for (std::size_t i = 0; i < linear->parts.size(); ++i) {
        const Linear::Part& part = linear->parts[i];
        linears[part.weight.unsafeGetTensorImpl()] = {linear, i};
        if (part.bias.defined()) linears[part.bias.unsafeGetTensorImpl()] = {linear, i};
      }
    }
  }
  std::vector<TensorSlot> slots = slots_of(*this);
  for (TensorSlot& slot : slots) {
    const c10::TensorImpl* parameter = slot.tensor().unsafeGetTensorImpl();
    if (const auto found = norms.find(parameter); found != norms.end()) slot.norm = found->second;
    const auto found = linears.find(parameter);
    if (found == linears.end()) continue;
    slot.linear = found->second.linear;
    if (slot.is_matrix()) slot.blocks = &slot.linear->parts[found->second.part].blocks;
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
  if (!parameter.starts_with(family_.blocks)) return config_.layers();
  return 1 + std::atoll(parameter.c_str() + std::string_view(family_.blocks).size());
}

nlohmann::json Vit::config_json() const {
  VitConfig built = config_;
  built.num_hidden_layers = built.layers();
  built.feature_layers = 0;
  return write_vit_config(built);
}

std::int64_t Vit::image_size() const {
  if (!config_.is_naflex()) return config_.image_size;
  const double side = std::sqrt(static_cast<double>(config_.patches()));
  return static_cast<std::int64_t>(side) * config_.patch_size;
}

void Vit::set_image_size(std::int64_t image_size) {
  if (config_.is_naflex()) {
    throw Error("the image encoder takes pictures of any aspect", "image size",
                "max_num_patches says how large they are");
  }
  VitConfig resized = config_;
  resized.image_size = image_size;
  check_vit_config(resized, "image size");
  if (resized.grid() != config_.grid() && weights_.position_embedding.defined()) {
    const torch::NoGradGuard no_grad;
    weights_.position_embedding.set_data(
        resize_positions(weights_.position_embedding, config_.grid(), resized.grid(),
                         resized.grid(), filter_of(family_, config_)));
  }
  config_ = resized;
}

void Vit::take_pictures(const Preprocessing& preprocessing) {
  if (!config_.is_naflex()) return ImageEncoder::take_pictures(preprocessing);
  if (preprocessing.max_num_patches == 0) {
    throw Error("expected pictures of any aspect, which the image encoder takes",
                "preprocessor_config.json: max_num_patches", "a Siglip2ImageProcessor makes them");
  }
  if (preprocessing.patch_size != config_.patch_size) {
    throw Error(fmt::format("expected {}, which the image encoder has, got {}", config_.patch_size,
                            preprocessing.patch_size),
                "preprocessor_config.json: patch_size");
  }
  config_.max_num_patches = preprocessing.max_num_patches;
}

}  // namespace blip2

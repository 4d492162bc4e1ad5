#include "blip2/vision/foreign_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

// Names that start with `ours` start with `theirs` in the other naming.
struct NameRule {
  std::string_view ours, theirs;
  std::int64_t index = 0, of = 1;
};

constexpr NameRule kEva[] = {
    {"embeddings.class_embedding", "cls_token"},
    {"embeddings.position_embedding", "pos_embed"},
    {"embeddings.patch_embedding.", "patch_embed.proj."},
    {"layer_norm1.", "norm1."},
    {"layer_norm2.", "norm2."},
    {"self_attn.qkv.weight", "attn.qkv.weight"},
    {"self_attn.projection.", "attn.proj."},
    {"mlp.", "mlp."},
};
constexpr NameRule kClip[] = {
    {"embeddings.class_embedding", "class_embedding"},
    {"embeddings.position_embedding.weight", "positional_embedding"},
    {"embeddings.patch_embedding.", "conv1."},
    {"pre_layrnorm.", "ln_pre."},
    {"layer_norm1.", "ln_1."},
    {"layer_norm2.", "ln_2."},
    {"self_attn.q_proj.", "attn.in_proj_", 0, 3},
    {"self_attn.k_proj.", "attn.in_proj_", 1, 3},
    {"self_attn.v_proj.", "attn.in_proj_", 2, 3},
    {"self_attn.out_proj.", "attn.out_proj."},
    {"mlp.fc1.", "mlp.c_fc."},
    {"mlp.fc2.", "mlp.c_proj."},
};
// The published encoders of which BLIP-2 leaves the last block out: EVA ViT-g/14, CLIP ViT-L/14.
struct Cut {
  std::int64_t width, blocks;
};
constexpr Cut kCuts[] = {{1408, 40}, {1024, 24}};
constexpr std::string_view kLayers = "encoder.layers.";
constexpr char kEvaBlocks[] = "blocks.", kClipBlocks[] = "transformer.resblocks.";

// The number that starts `text` with its dot: "12." of "12.mlp.fc1.weight".
std::string_view number_of(std::string_view text) {
  return text.substr(0, text.find('.') + 1);
}

TensorRecipe vit_recipe(const std::string& name, std::span<const NameRule> rules,
                        const std::string& blocks) {
  std::string_view stem = name;
  std::string block;
  if (stem.starts_with(kLayers)) {
    stem.remove_prefix(kLayers.size());
    block = blocks + std::string(number_of(stem));
    stem.remove_prefix(number_of(stem).size());
  }
  if (stem == "self_attn.qkv.bias") {
    return {name, {{block + "attn.q_bias"}, {""}, {block + "attn.v_bias"}}};
  }
  for (const NameRule& rule : rules) {
    if (!stem.starts_with(rule.ours)) continue;
    stem.remove_prefix(rule.ours.size());
    return {name, {{block + std::string(rule.theirs) + std::string(stem), rule.index, rule.of}}};
  }
  throw Error("no name for " + name, "LAVIS");
}

// "encoder.stages.1.layers.0.layer.2.convolution.weight" -> "layer2.0.conv3.weight"
std::string torchvision_name(const std::string& name) {
  const std::string member = name.substr(name.rfind('.'));  // ".weight"
  const bool norm = name.find(".normalization.") != std::string::npos;
  if (name.starts_with("embedder.")) return (norm ? "bn1" : "conv1") + member;
  std::string_view rest = std::string_view(name).substr(std::string_view("encoder.stages.").size());
  const int stage = std::stoi(std::string(rest));
  rest.remove_prefix(number_of(rest).size() + std::string_view("layers.").size());
  const std::string layer = fmt::format("layer{}.{}", stage + 1, number_of(rest));
  rest.remove_prefix(number_of(rest).size());
  if (rest.starts_with("shortcut."))
    return layer + (norm ? "downsample.1" : "downsample.0") + member;
  const int part = std::stoi(std::string(rest.substr(std::string_view("layer.").size())));
  return fmt::format("{}{}{}{}", layer, norm ? "bn" : "conv", part + 1, member);
}

// The package puts an underscore before every name of its own: "_blocks.0._bn1.weight".
std::string package_name(const std::string& member) {
  const std::size_t dot = member.find('.');
  if (member.starts_with("blocks.")) {
    const std::size_t inner = member.find('.', dot + 1) + 1;
    return "_" + member.substr(0, inner) + "_" + member.substr(inner);
  }
  return "_" + member;
}

}  // namespace

TensorRecipe foreign_recipe(const VitConfig& config, const std::string& name) {
  if (config.is_eva()) return vit_recipe(name, kEva, kEvaBlocks);
  if (config.is_clip()) return vit_recipe(name, kClip, kClipBlocks);
  if (config.is_dinov3()) return {name, {{(name.starts_with("layer.") ? "model." : "") + name}}};
  throw Error("LAVIS's BLIP-2 has EVA and CLIP vision transformers only", "image encoder");
}

TensorRecipe foreign_recipe(const ResNetConfig&, const std::string& name) {
  return {name, {{torchvision_name(name)}}};
}

TensorRecipe foreign_recipe(const EfficientNetLiteConfig&, const std::string& name) {
  return {name, {{package_name(name)}}};
}

std::vector<std::string> foreign_ignored(const VitConfig& config) {
  if (config.is_dinov3()) return {"embeddings.mask_token"};
  const char* blocks = config.is_eva() ? kEvaBlocks : kClipBlocks;
  const std::string cut = fmt::format("{}{}.*", blocks, config.layers());
  if (config.is_eva()) return {cut, "norm.*", "fc_norm.*", "head.*"};
  return {cut, "ln_final.*", "ln_post.*", "proj"};
}

std::vector<std::string> foreign_ignored(const ResNetConfig&) {
  return {"fc.weight", "fc.bias"};
}

std::vector<std::string> foreign_ignored(const EfficientNetLiteConfig&) {
  return {"_fc.weight", "_fc.bias"};
}

VitConfig lavis_vit_config(const TensorFile& file, const std::string& prefix) {
  const bool eva = file.find(prefix + "cls_token") != nullptr;
  const auto shape = [&](const std::string& name, std::size_t rank) {
    const TensorView& view = file.get(prefix + name);
    if (view.shape.size() == rank) return view.shape;
    throw Error(fmt::format("expected {} dimensions, got {}", rank, describe(view)),
                file.path().string());
  };
  VitConfig c = VitConfig::of(eva ? "blip_2_vision_model" : "clip_vision_model");
  const auto patches = shape(eva ? "patch_embed.proj.weight" : "conv1.weight", 4);
  const auto table = shape(eva ? "pos_embed" : "positional_embedding", eva ? 3 : 2);
  const std::string blocks = eva ? kEvaBlocks : kClipBlocks;
  c.intermediate_size = shape(blocks + (eva ? "0.mlp.fc1.weight" : "0.mlp.c_fc.weight"), 2)[0];
  c.hidden_size = patches[0];
  c.patch_size = patches[3];
  c.align_corners = !eva;
  c.num_attention_heads = std::max<std::int64_t>(c.hidden_size / (eva ? 88 : 64), 1);
  const auto positions = static_cast<double>(table[table.size() - 2] - 1);
  c.image_size = std::llround(std::sqrt(std::max(positions, 0.0))) * c.patch_size;
  const char* norm = eva ? ".norm1.weight" : ".ln_1.weight";
  c.num_hidden_layers = 0;
  while (file.find(fmt::format("{}{}{}{}", prefix, blocks, c.num_hidden_layers, norm))) {
    ++c.num_hidden_layers;
  }
  for (const Cut& cut : kCuts) {
    if (c.hidden_size == cut.width && c.num_hidden_layers == cut.blocks) --c.num_hidden_layers;
  }
  check_vit_config(c, file.path().string());
  return c;
}

}  // namespace blip2

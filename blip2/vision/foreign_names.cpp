#include "blip2/vision/foreign_names.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fnmatch.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <span>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/vision/vit.h"

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

const VitConfig& lavis_kind(const VisionConfig& config) {
  const auto* vit = std::get_if<VitConfig>(&config);
  if (vit && (vit->is_eva() || vit->model_type == "clip_vision_model")) return *vit;
  throw Error("LAVIS's BLIP-2 has EVA and CLIP vision transformers only", "image encoder");
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

template <typename Encoder, typename Config, typename Recipe>
std::vector<TensorRecipe> recipes_of(const Config& config, const Recipe& recipe) {
  const Encoder encoder(config);
  std::vector<TensorRecipe> recipes;
  for (const auto& item : encoder.named_parameters()) recipes.push_back(recipe(item.key()));
  for (const auto& item : encoder.named_buffers()) recipes.push_back(recipe(item.key()));
  return recipes;
}

bool matches(const std::string& name, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
  });
}

class RecastFile : public TensorFile {
 public:
  RecastFile(std::shared_ptr<const TensorFile> file, const std::vector<TensorRecipe>& recipes,
             const std::vector<std::string>& ignored, const std::string& from,
             const std::string& to)
      : TensorFile(file->path()), file_(std::move(file)), from_(from) {
    keep(file_);
    for (const TensorRecipe& recipe : recipes) make(recipe, to);
    for (const TensorView& view : file_->tensors()) {
      if (!view.name.starts_with(from_) || used_.contains(view.name)) continue;
      if (matches(view.name.substr(from_.size()), ignored)) continue;
      faults_.push_back(view.name + ": not a tensor of this model");
    }
    refuse();
  }
  std::string_view format() const override { return file_->format(); }

 private:
  // The part's view; empty data and a fault if it is not there.
  TensorView part_of(const TensorPart& part) {
    const std::string name = from_ + part.source;
    used_.insert(name);
    const TensorView* view = file_->find(name);
    if (!view) {
      if (!part.source.ends_with("num_batches_tracked")) faults_.push_back(name + ": missing");
      return {};
    }
    if (part.of == 1) return *view;
    if (view->shape.empty() || view->shape[0] % part.of != 0) {
      faults_.push_back(
          fmt::format("{}: expected {} equal parts, got {}", name, part.of, describe(*view)));
      return {};
    }
    TensorView slice = *view;
    slice.shape[0] /= part.of;
    const auto bytes = view->data.size() / static_cast<std::size_t>(part.of);
    slice.data = view->data.subspan(bytes * static_cast<std::size_t>(part.index), bytes);
    return slice;
  }

  void make(const TensorRecipe& recipe, const std::string& to) {
    TensorView first = part_of(recipe.parts.front());
    if (first.data.empty()) return;
    if (recipe.parts.size() > 1 && !join(recipe, first)) return;
    first.name = to + recipe.name;
    add(std::move(first));
  }

  // Puts the recipe's parts into `first`, its first part; whether they were there and alike.
  bool join(const TensorRecipe& recipe, TensorView& first) {
    std::vector<std::byte> bytes(first.data.begin(), first.data.end());
    const std::size_t size = bytes.size();
    for (std::size_t i = 1; i < recipe.parts.size(); ++i) {
      if (recipe.parts[i].source.empty()) {
        bytes.resize(bytes.size() + size);
        continue;
      }
      const TensorView next = part_of(recipe.parts[i]);
      if (next.data.empty()) return false;
      if (next.shape != first.shape || next.dtype != first.dtype) {
        faults_.push_back(
            fmt::format("{}: expected {} beside {}", next.name, describe(first), describe(next)));
        return false;
      }
      bytes.insert(bytes.end(), next.data.begin(), next.data.end());
    }
    first.shape[0] *= static_cast<std::int64_t>(recipe.parts.size());
    first.data = keep(std::move(bytes));
    return true;
  }

  void refuse() const {
    if (faults_.empty()) return;
    const std::size_t shown = std::min<std::size_t>(faults_.size(), 8);
    throw Error(
        fmt::format("{} tensor(s) do not fit the image encoder: {}{}", faults_.size(),
                    fmt::join(faults_.begin(), faults_.begin() + static_cast<long>(shown), "; "),
                    shown < faults_.size() ? "; …" : ""),
        path().string(), "check that the configuration and the weights belong together");
  }

  std::shared_ptr<const TensorFile> file_;
  std::string from_;
  std::set<std::string> used_;
  std::vector<std::string> faults_;
};

}  // namespace

std::vector<TensorRecipe> lavis_recipes(const VisionConfig& config) {
  const VitConfig& vit = lavis_kind(config);
  return recipes_of<Vit>(vit, [&](const std::string& name) {
    return vit.is_eva() ? vit_recipe(name, kEva, kEvaBlocks) : vit_recipe(name, kClip, kClipBlocks);
  });
}

std::vector<TensorRecipe> torchvision_recipes(const ResNetConfig& config) {
  return recipes_of<ResNet>(config, [](const std::string& name) {
    return TensorRecipe{name, {{torchvision_name(name)}}};
  });
}

std::vector<std::string> lavis_ignored(const VisionConfig& config) {
  const VitConfig& vit = lavis_kind(config);
  const std::string cut =
      fmt::format("{}{}.*", vit.is_eva() ? kEvaBlocks : kClipBlocks, vit.layers());
  if (vit.is_eva()) return {cut, "norm.*", "fc_norm.*", "head.*"};
  return {cut, "ln_final.*", "ln_post.*", "proj"};
}

std::vector<std::string> torchvision_ignored() {
  return {"fc.weight", "fc.bias"};
}

std::unique_ptr<TensorFile> recast(std::shared_ptr<const TensorFile> file,
                                   const std::vector<TensorRecipe>& recipes,
                                   const std::vector<std::string>& ignored, const std::string& from,
                                   const std::string& to) {
  return std::make_unique<RecastFile>(std::move(file), recipes, ignored, from, to);
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

#include "blip2/model/clip_model.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/io/fields.h"
#include "blip2/io/json.h"
#include "blip2/nn/adopt.h"
#include "blip2/nn/batch_invariant.h"
#include "blip2/vision/image_encoders.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kClipVision[] = "vision_model.", kClipText[] = "text_model.";

struct ClipConfig {
  VitConfig vision;
  ClipTextConfig text;
  std::int64_t projection_dim = 512;
};

// The table of a part. Old files have it once more under NAME_dict, which then counts alone, as in
// transformers.
const json& part_of(const json& config, const std::string& name, const std::string& where) {
  const auto old = config.find(name + "_dict");
  if (old != config.end() && !old->is_null()) return *old;
  const auto found = config.find(name);
  if (found != config.end() && found->is_object()) return *found;
  throw Error(fmt::format("expected a table \"{}\"", name), where);
}

ClipConfig read_clip_config(const fs::path& path) {
  const json config = read_json(path);
  const std::string where = path.string();
  const std::string type =
      config.is_object() && config.contains("model_type") ? config["model_type"].dump() : "none";
  if (type != "\"clip\"") {
    throw Error(fmt::format("expected the model_type \"clip\", got {}", type.substr(0, 80)), where,
                "name a directory of transformers' CLIPModel");
  }
  ClipConfig out;
  const VisionConfig vision = read_vision_config(part_of(config, "vision_config", where),
                                                 where + ": vision_config", "clip_vision_model");
  const auto* vit = std::get_if<VitConfig>(&vision);
  if (vit == nullptr || !vit->is_clip()) {
    throw Error("expected clip_vision_model", where + ": vision_config: model_type");
  }
  out.vision = *vit;
  out.vision.feature_layers = 0;
  out.text = read_clip_text_config(part_of(config, "text_config", where), where + ": text_config");
  const auto width = config.find("projection_dim");
  if (width != config.end() && !width->is_null()) {
    read_value(out.projection_dim, *width, where + ": projection_dim");
  }
  return out;
}

std::shared_ptr<ClipTextEncoder> load_text(const std::shared_ptr<const TensorFile>& weights,
                                           const ClipTextConfig& config) {
  const c10::InferenceMode no_inference(false);
  auto encoder = std::make_shared<ClipTextEncoder>(config);
  adopt(weights, slots_of(*encoder), {.part = "text encoder", .prefix = kClipText});
  for (at::Tensor& parameter : encoder->parameters()) parameter.set_requires_grad(false);
  return encoder;
}

// [N, E] -> [N, E]. Error if a row has no direction.
at::Tensor unit_rows(const at::Tensor& x, const char* what, const fs::path& folder) {
  at::Tensor rows = x / x.norm(2, {1}, /*keepdim=*/true);
  if (rows.isfinite().all().item<bool>()) return rows;
  throw Error(fmt::format("the vector of {} is not finite", what), folder.string(),
              "its weights are damaged");
}

}  // namespace

struct ClipModel::Heads : torch::nn::Module {
  Heads(const ClipConfig& config, const std::shared_ptr<const TensorFile>& weights) {
    const c10::InferenceMode no_inference(false);
    const std::int64_t wide = config.projection_dim;
    norm = vit_norm(*this, std::string(kClipVision) + "post_layernorm", config.vision.hidden_size,
                    config.vision.layer_norm_eps);
    visual = vit_linear(*this, "visual_projection", config.vision.hidden_size, wide, false);
    text = vit_linear(*this, "text_projection", config.text.hidden_size, wide, false);
    adopt(
        weights, slots_of(*this),
        {.part = "projections",
         .ignored = {std::string(kClipVision) + "*", std::string(kClipText) + "*", "logit_scale"}});
    for (at::Tensor& parameter : parameters()) parameter.set_requires_grad(false);
  }

  Norm norm;
  Linear visual, text;
};

ClipModel::ClipModel(const fs::path& folder)
    : folder_(folder), preprocessing_(load_preprocessing(preprocessing_file(folder))) {
  const ClipConfig config = read_clip_config(folder / "config.json");
  const std::int64_t size = config.vision.image_size;
  if (preprocessing_.width != size || preprocessing_.height != size ||
      preprocessing_.max_num_patches > 0) {
    throw Error(fmt::format("expected pictures of {0} x {0}, as the vision_config has them, got "
                            "{1} x {2}",
                            size, preprocessing_.width, preprocessing_.height),
                preprocessing_file(folder).string());
  }
  tokenizer_ = load_tokenizer(folder);
  if (tokenizer_->size() > config.text.vocab_size) {
    throw Error(fmt::format("the tokenizer has {} ids, the model {} word embeddings",
                            tokenizer_->size(), config.text.vocab_size),
                folder.string(), "they do not belong together");
  }
  try {
    end_of_text(tokenizer_->encode("", true), config.text.eos_token_id);
  } catch (const Error& error) {
    throw error.within(folder.string());
  }
  const std::shared_ptr<const TensorFile> weights = open_model_weights(folder);
  vision_ = load_image_encoder(weights, config.vision, kClipVision);
  text_ = load_text(weights, config.text);
  heads_ = std::make_shared<Heads>(config, weights);
}

ReadFiles<at::Tensor> ClipModel::embed_images(std::span<const std::string> images) const {
  const at::NoGradGuard no_grad;
  ReadPixels read = read_pixels(images, preprocessing_);
  std::vector<at::Tensor> vectors{at::empty({0, heads_->visual.outs()})};
  for (const at::Tensor& pixels : read.features) {
    const at::Tensor features = vision_->forward(pixels.unsqueeze(0));       // [1, P, D]
    vectors.push_back(heads_->visual(heads_->norm(features.select(1, 0))));  // [1, E]
  }
  return {std::move(read.failures), std::move(read.good),
          unit_rows(at::cat(vectors), "a picture", folder_)};
}

std::vector<std::int32_t> ClipModel::tokenize(const std::string& text) const {
  std::vector<std::int32_t> ids = tokenizer_->encode(text, true, kWholeText);
  const auto most = static_cast<std::size_t>(text_->config().max_position_embeddings);
  if (ids.size() > most) {
    ids[most - 1] = ids.back();
    ids.resize(most);
  }
  return ids;
}

at::Tensor ClipModel::embed_texts(std::span<const std::string> texts) const {
  if (texts.empty()) return at::empty({0, heads_->text.outs()});
  std::vector<at::Tensor> vectors(texts.size());
  try {
    batch_invariant_for(texts.size(), [&](std::size_t i) {
      vectors[i] = heads_->text(text_->forward(tokenize(texts[i])).unsqueeze(0));  // [1, E]
    });
  } catch (const Error& error) {
    throw error.within(folder_.string());
  }
  return unit_rows(at::cat(vectors), "a text", folder_);
}

}  // namespace blip2

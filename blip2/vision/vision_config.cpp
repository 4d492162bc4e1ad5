#include "blip2/vision/vision_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "blip2/base/error.h"
#include "blip2/base/nearest.h"

namespace blip2 {
namespace {

// The shorter side before a centre crop that keeps 7/8 of it (224 of 256).
int before_crop(int size) {
  return size * 8 / 7;
}

void crop(Preprocessing& p, int shortest_edge, const char* processor) {
  p.shortest_edge = shortest_edge;
  p.image_processor_type = processor;
}

void imagenet(Preprocessing& p) {
  p.mean = {0.485f, 0.456f, 0.406f};
  p.std = {0.229f, 0.224f, 0.225f};
}

Preprocessing preprocessing_of(const VitConfig& config) {
  Preprocessing p;
  if (!config.is_naflex()) p.width = p.height = static_cast<int>(config.image_size);
  if (config.model_type == "clip_vision_model") crop(p, p.width, "CLIPImageProcessor");
  if (config.is_aimv2()) crop(p, p.width, "CLIPImageProcessor");
  if (config.model_type.starts_with("siglip")) {
    p.mean.fill(0.5f);
    p.std.fill(0.5f);
    p.image_processor_type = "SiglipImageProcessor";
  }
  if (config.is_naflex()) {
    p.patch_size = static_cast<int>(config.patch_size);
    p.max_num_patches = static_cast<int>(config.patches());
    p.filter = Filter::bilinear;
    p.image_processor_type = "Siglip2ImageProcessor";
  }
  if (config.is_dinov3()) {
    imagenet(p);
    p.filter = Filter::bilinear;
    p.resizes_floats = true;
    p.image_processor_type = "DINOv3ViTImageProcessor";
  }
  if (config.is_dinov2()) {
    crop(p, before_crop(p.width), "BitImageProcessor");
    imagenet(p);
  }
  return p;
}

// As torchvision evaluates its ResNets, with Hugging Face's bicubic filter.
Preprocessing preprocessing_of(const ResNetConfig& config) {
  Preprocessing p;
  p.width = p.height = static_cast<int>(config.image_size);
  crop(p, before_crop(p.width), "BitImageProcessor");
  imagenet(p);
  return p;
}

Preprocessing preprocessing_of(const EfficientNetLiteConfig& config) {
  return efficientnet_lite_preprocessing(config);
}

nlohmann::json json_of(const VitConfig& config) {
  return write_vit_config(config);
}

template <typename Config>
nlohmann::json json_of(const Config& config) {
  return config.to_json();
}

}  // namespace

std::vector<std::string> image_encoder_types() {
  std::vector<std::string> types = vit_model_types();
  types.insert(types.end(), {"resnet", "efficientnet_lite"});
  return types;
}

VisionConfig read_vision_config(const nlohmann::json& json, const std::string& where,
                                const std::string& fallback) {
  if (!json.is_object()) throw Error("expected a table of keys", where);
  if (json.contains("vision_config")) {
    return read_vision_config(json["vision_config"], where + ": vision_config", fallback);
  }
  nlohmann::json object = json;
  if (!object.contains("model_type")) object["model_type"] = fallback;
  std::string type;
  read_value(type, object["model_type"], where + ": model_type");
  if (type == "resnet") return ResNetConfig::from_json(object, where);
  if (type == "efficientnet_lite") return EfficientNetLiteConfig::from_json(object, where);
  const std::vector<std::string> known = image_encoder_types();
  if (std::find(known.begin(), known.end(), type) != known.end()) {
    return read_vit_config(object, where);
  }
  const std::string near = nearest_match(type, known);
  throw Error(fmt::format("unknown image encoder '{}'", type), where + ": model_type",
              fmt::format("{}known are {}", near.empty() ? "" : "did you mean '" + near + "'? ",
                          fmt::join(known, ", ")));
}

nlohmann::json write_vision_config(const VisionConfig& config) {
  return std::visit([](const auto& kind) { return json_of(kind); }, config);
}

Preprocessing default_preprocessing(const VisionConfig& config) {
  return std::visit([](const auto& kind) { return preprocessing_of(kind); }, config);
}

}  // namespace blip2

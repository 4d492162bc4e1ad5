#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "blip2/image/transform.h"
#include "blip2/vision/efficientnet_lite.h"
#include "blip2/vision/resnet.h"
#include "blip2/vision/vit_config.h"

namespace blip2 {

// The "vision_config" of any image encoder.
using VisionConfig = std::variant<VitConfig, ResNetConfig, EfficientNetLiteConfig>;

// The model_types that read_vision_config knows.
std::vector<std::string> image_encoder_types();

// Reads a "vision_config" table, or the config.json of an image encoder's own directory or of a
// CLIP or SigLIP (of which it takes the vision_config), by model_type. `fallback` is the model_type
// of a table that has none, as in the first BLIP-2 directories. Error for an unknown model_type
// (lists the known ones), unknown keys (nearest match) and sizes that contradict each other.
VisionConfig read_vision_config(const nlohmann::json& json, const std::string& where,
                                const std::string& fallback = {});

// The configuration as Hugging Face writes it.
nlohmann::json write_vision_config(const VisionConfig& config);

// The preprocessing for an encoder whose directory has none: its source's published preprocessing
// at the configuration's image size.
Preprocessing default_preprocessing(const VisionConfig& config);

}  // namespace blip2

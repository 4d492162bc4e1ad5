#pragma once

#include <string>
#include <vector>

#include "blip2/io/recast.h"
#include "blip2/io/tensor_file.h"
#include "blip2/vision/vision_config.h"

namespace blip2 {

// What another naming calls one of an encoder's tensors, which has Hugging Face's name (an
// EfficientNet-Lite's: our own). A vision transformer's are LAVIS's (eva_vit.py for
// blip_2_vision_model and instructblip_vision_model, clip_vit.py for clip_vision_model; Error for
// other kinds but DINOv3, whose blocks are then "model.layer."), without "visual_encoder.": EVA's
// fused bias is queries', zeros, values'; CLIP's q, k and v are thirds of in_proj. A ResNet's are
// torchvision's, an EfficientNet-Lite's those of the PyPI package efficientnet-lite-pytorch.
TensorRecipe foreign_recipe(const VitConfig& config, const std::string& name);
TensorRecipe foreign_recipe(const ResNetConfig& config, const std::string& name);
TensorRecipe foreign_recipe(const EfficientNetLiteConfig& config, const std::string& name);

// Tensors of those files that an encoder does not have: blocks that BLIP-2 cuts off, final norms,
// classifiers. Patterns as in AdoptOptions::ignored.
std::vector<std::string> foreign_ignored(const VitConfig& config);
std::vector<std::string> foreign_ignored(const ResNetConfig& config);
std::vector<std::string> foreign_ignored(const EfficientNetLiteConfig& config);

// The configuration of a LAVIS vision transformer by its tensors' shapes under `prefix`: EVA with
// heads of 88, CLIP with heads of 64, as LAVIS builds them; of the published ViT-g/14 and ViT-L/14
// the last block is left out if it is there. Error if there is neither.
VitConfig lavis_vit_config(const TensorFile& file, const std::string& prefix);

}  // namespace blip2

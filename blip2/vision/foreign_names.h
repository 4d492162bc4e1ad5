#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "blip2/io/tensor_file.h"
#include "blip2/vision/vision_config.h"

namespace blip2 {

// A stretch of another naming's tensor: the `index`-th of `of` equal parts along the first
// dimension. Without a source: zeros of the shape of the first part.
struct TensorPart {
  std::string source;
  std::int64_t index = 0, of = 1;
};

// One of our tensors as parts of another naming's, one after another along the first dimension.
struct TensorRecipe {
  std::string name;  // Hugging Face's
  std::vector<TensorPart> parts;
};

// All tensors of an encoder by the names of LAVIS (eva_vit.py for blip_2_vision_model and
// instructblip_vision_model, clip_vit.py for clip_vision_model), without "visual_encoder.". EVA's
// fused bias is queries', zeros, values'; CLIP's q, k and v are thirds of in_proj. Error for other
// kinds.
std::vector<TensorRecipe> lavis_recipes(const VisionConfig& config);
// The same for a ResNet by torchvision's names.
std::vector<TensorRecipe> torchvision_recipes(const ResNetConfig& config);

// Tensors of those files that an encoder does not have: blocks that BLIP-2 cuts off, final norms,
// classifiers. Patterns as in LoadOptions::ignored.
std::vector<std::string> lavis_ignored(const VisionConfig& config);
std::vector<std::string> torchvision_ignored();

// A file under our names: what the recipes make of its tensors under `from`, named `to` + ours.
// Only tensors of several parts are copied. One Error lists what is missing and what under `from`
// is neither used nor ignored.
std::unique_ptr<TensorFile> recast(std::shared_ptr<const TensorFile> file,
                                   const std::vector<TensorRecipe>& recipes,
                                   const std::vector<std::string>& ignored, const std::string& from,
                                   const std::string& to);

// The configuration of a LAVIS vision transformer by its tensors' shapes under `prefix`: EVA with
// heads of 88, CLIP with heads of 64, as LAVIS builds them; of the published ViT-g/14 and ViT-L/14
// the last block is left out if it is there. Error if there is neither.
VitConfig lavis_vit_config(const TensorFile& file, const std::string& prefix);

}  // namespace blip2

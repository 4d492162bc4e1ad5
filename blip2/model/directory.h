#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "blip2/io/tensor_file.h"
#include "blip2/model/bridge.h"
#include "blip2/model/config.h"

namespace blip2 {

// A model directory holds config.json, preprocessor_config.json, the language model's tokenizer at
// its top and the Q-Former's under kQFormerTokenizer, and the weights in one file a part with
// model.safetensors.index.json over them. Frozen parts are hard links where the file system allows,
// so that a trained model costs no more disk than its bridge. Under kStage1Folder a stage-2 model
// keeps the stage-1 model that it came from, for matching and retrieval.
inline constexpr char kQFormerTokenizer[] = "qformer_tokenizer", kStage1Folder[] = "stage1";
inline constexpr char kVisionPrefix[] = "vision_model.", kLanguagePrefix[] = "language_model.";
inline constexpr char kVisionFile[] = "model-vision.safetensors",
                      kLanguageFile[] = "model-language.safetensors",
                      kBridgeFile[] = "model-bridge.safetensors";

// The bridge with a directory's weights. Strict: Error that lists missing, unexpected and
// mis-shaped tensors. `trainable`: own memory with gradients; otherwise the mapped file's.
std::shared_ptr<Bridge> load_bridge(std::shared_ptr<const TensorFile> weights,
                                    const Blip2Config& config, bool trainable);

// Writes the bridge's weights and config.json of `config` into `folder`.
void save_bridge(const Bridge& bridge, const std::filesystem::path& folder);

// Brings the frozen parts, tokenizers and preprocessing of `source` into `folder`: hard links, or
// copies across file systems.
void link_frozen_parts(const std::filesystem::path& source, const std::filesystem::path& folder,
                       bool with_language);

// Makes `folder` the stage-1 model of `source` (or the one that it keeps), without the language
// model: what matching and retrieval need.
void keep_stage1(const std::filesystem::path& source, const std::filesystem::path& folder);

// Writes the index over the weight files that `folder` has.
void write_weight_index(const std::filesystem::path& folder);

// Names of the bridge's tensors as the directory has them.
std::vector<std::pair<std::string, at::Tensor>> bridge_tensors(const Bridge& bridge);

// "heads.itm_head.weight" -> "itm_head.weight": heads stand at the top, as Hugging Face has them.
std::string bridge_tensor_name(const std::string& member);

}  // namespace blip2

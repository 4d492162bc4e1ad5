#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/io/tensor_file.h"
#include "blip2/model/bridge.h"
#include "blip2/model/config.h"
#include "blip2/text/tokenizer.h"

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

// Error if a text's ids pass the model's word embeddings.
void check_ids(std::span<const std::int32_t> ids, std::int64_t embeddings);

// Makes the folder of a new model. Error if it holds one already, or cannot be made.
void make_model_folder(const std::filesystem::path& folder);

// The bridge with a directory's weights. Strict: Error that lists missing, unexpected and
// mis-shaped tensors. `trainable`: own memory with gradients; otherwise the mapped file's.
std::shared_ptr<Bridge> load_bridge(std::shared_ptr<const TensorFile> weights,
                                    const Blip2Config& config, bool trainable);

// Writes the bridge's weights and config.json of `config` into `folder`.
void save_bridge(const Bridge& bridge, const std::filesystem::path& folder);

// Makes `to` a hard link to `from`, or a copy across file systems, in place of what is there.
void link_file(const std::filesystem::path& from, const std::filesystem::path& to);

// Brings the frozen parts, tokenizers and preprocessing of `source` into `folder`: hard links, or
// copies across file systems.
void link_frozen_parts(const std::filesystem::path& source, const std::filesystem::path& folder,
                       bool with_language);

// Brings the language model of `source`, its tokenizer and chat template into `folder`, likewise.
void link_language(const std::filesystem::path& source, const std::filesystem::path& folder);

// The stage-1 model of a directory: itself, or the one that it keeps under kStage1Folder; nothing
// if it has neither.
std::optional<std::filesystem::path> stage1_folder(const std::filesystem::path& folder);

// Makes `folder` the stage-1 model of `source` (or the one that it keeps), without the language
// model: what matching and retrieval need.
void keep_stage1(const std::filesystem::path& source, const std::filesystem::path& folder);

// Writes the index over the weight files that `folder` has.
void write_weight_index(const std::filesystem::path& folder);

// Names of the bridge's tensors as the directory has them.
std::vector<std::pair<std::string, at::Tensor>> bridge_tensors(const Bridge& bridge);

// The name that a layout has for a member of the bridge. Heads stand at the top everywhere
// ("heads.itm_head.weight" -> "itm_head.weight"); transformers has ln_vision in the image encoder
// and word embeddings at other places.
std::string bridge_tensor_name(ModelLayout layout, const std::string& member);

// Where the Q-Former's tokenizer lies: under kQFormerTokenizer, or in the folder itself where the
// model has no other.
std::filesystem::path qformer_tokenizer_folder(const std::filesystem::path& folder);

// The type in which a directory stores the first tensor under a prefix; f32 if there is none, or
// if it is stored in a type that no part computes in.
at::ScalarType stored_type(const TensorFile& weights, const std::string& prefix);

// Error if a tokenizer has more ids than the model has word embeddings, or over a thousand fewer:
// they do not belong together.
void check_vocabulary(const Tokenizer& tokenizer, std::int64_t embeddings,
                      const std::filesystem::path& where);

// The same for every tokenizer that a model with this configuration reads from its directory.
void check_tokenizers(const Blip2Config& config, const std::filesystem::path& folder);

}  // namespace blip2

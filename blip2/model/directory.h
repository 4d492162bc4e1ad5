#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/base/new_entries.h"
#include "blip2/io/tensor_file.h"
#include "blip2/model/bridge.h"
#include "blip2/model/config.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

// A model directory holds config.json, preprocessor_config.json, the language model's tokenizer at
// its top and the Q-Former's tokenizer under kQFormerTokenizer, and the weights, one file for each
// part, with model.safetensors.index.json as their index. Frozen parts are hard links where the
// file system allows it, so that a trained model takes no more disk space than its bridge. A
// stage-2 model keeps the stage-1 model that it came from under kStage1Folder, for matching and
// retrieval.
inline constexpr char kQFormerTokenizer[] = "qformer_tokenizer", kStage1Folder[] = "stage1";
inline constexpr char kVisionPrefix[] = "vision_model.", kLanguagePrefix[] = "language_model.";
inline constexpr char kVisionFile[] = "model-vision.safetensors",
                      kLanguageFile[] = "model-language.safetensors",
                      kBridgeFile[] = "model-bridge.safetensors";

// Error if an id of a text has no word embedding in the model.
void check_ids(std::span<const std::int32_t> ids, std::int64_t embeddings);

// The folder of a new model, which is one once finish() has been called: if anything fails before,
// nothing is left that was not there.
class NewModelFolder {
 public:
  // Error if the folder holds a model already or a folder kStage1Folder.
  explicit NewModelFolder(std::filesystem::path folder);

  // Makes the folder, without the weights and temporary files that a conversion which was killed
  // has left there. Error if it cannot be made.
  void make() const;
  void finish();

 private:
  std::filesystem::path folder_;
  NewEntries entries_, words_;  // the folder's, and those of kQFormerTokenizer in it
};

// Loads the bridge from a directory's weights. Strict: one Error lists missing, unexpected and
// mis-shaped tensors. `trainable`: the weights get memory of their own and gradients; otherwise
// they stay in the mapped file. `language_reads`: weights that do not read a language model's
// states yet start to, by random projections N(0, initializer_range) from this seed.
std::shared_ptr<Bridge> load_bridge(std::shared_ptr<const TensorFile> weights,
                                    const Blip2Config& config, bool trainable,
                                    std::optional<std::uint64_t> language_reads = std::nullopt);

// Writes the bridge's weights and config.json into `folder`.
void save_bridge(const Bridge& bridge, const std::filesystem::path& folder);

// Makes `to` a hard link to `from`, or a copy across file systems, in place of what is there.
void link_file(const std::filesystem::path& from, const std::filesystem::path& to);

// Links the frozen parts, tokenizers and preprocessing of `source` into `folder`: as hard links, or
// as copies across file systems.
void link_frozen_parts(const std::filesystem::path& source, const std::filesystem::path& folder,
                       bool with_language);

// Links the language model of `source` with its adapters (lora_files.h), its tokenizer and chat
// template into `folder` likewise.
void link_language(const std::filesystem::path& source, const std::filesystem::path& folder);
// Links the language model's adapters alone.
void link_lora(const std::filesystem::path& source, const std::filesystem::path& folder);

// The folder of a directory's stage-1 model: the directory itself, or its kStage1Folder; nullopt if
// there is no stage-1 model.
std::optional<std::filesystem::path> stage1_folder(const std::filesystem::path& folder);

// Makes `folder` a copy of the stage-1 model of `source` without the language model, with
// everything that matching and retrieval need.
void keep_stage1(const std::filesystem::path& source, const std::filesystem::path& folder);

// Writes model.safetensors.index.json for those of `files` that are in `folder`.
void write_weight_index(const std::filesystem::path& folder,
                        const std::vector<std::string>& files = {kVisionFile, kLanguageFile,
                                                                 kBridgeFile});

// The bridge's tensors with their names in the directory.
std::vector<std::pair<std::string, at::Tensor>> bridge_tensors(const Bridge& bridge);

// The name of a bridge member in a layout. Stage-1 heads are at the top level in every layout
// ("heads.itm_head.weight" -> "itm_head.weight"); transformers has ln_vision in the image encoder
// and word embeddings at other places.
std::string bridge_tensor_name(ModelLayout layout, const std::string& member);

// The folder of the Q-Former's tokenizer: kQFormerTokenizer, or the model's folder itself if the
// model has no other tokenizer.
std::filesystem::path qformer_tokenizer_folder(const std::filesystem::path& folder);

// The type in which a directory stores the first tensor under a prefix that is not quantised; f32
// if there is no such tensor, or if no part of a model computes in its type.
at::ScalarType stored_type(const TensorFile& weights, const std::string& prefix);

// Error if a tokenizer has more ids than the model has word embeddings, or over a thousand fewer:
// then the two do not belong together.
void check_vocabulary(const Tokenizer& tokenizer, std::int64_t embeddings,
                      const std::filesystem::path& where);

// Calls check_vocabulary for every tokenizer that a model with this configuration reads from its
// directory.
void check_tokenizers(const Blip2Config& config, const std::filesystem::path& folder);

}  // namespace blip2

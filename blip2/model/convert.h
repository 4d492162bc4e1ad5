#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include <ATen/core/ScalarType.h>

#include "blip2/io/tensor_file.h"
#include "blip2/model/config.h"

namespace blip2 {

// The layout of the transformers class that fits a model in this program's layout, nullopt if there
// is none: the model needs an EVA-CLIP image encoder with either a language model or the heads of
// stage 1.
std::optional<ModelLayout> transformers_layout(const Blip2Config& config);

// Copies a model directory. `weights` (kFloat, kBFloat16, kHalf): the new type of the image
// encoder, the language model and the projection into it; everything else stays f32. Without
// `weights` every tensor is copied bit for bit. A directory in transformers' layout keeps it. A
// directory in this program's layout becomes one of transformers' if there is a class for the
// model, unless `own_layout`: tensors that the class lacks (stage-1 heads that only training needs,
// a text side that nothing reads) are left out, and <image> gets a word embedding. The stage-1
// model under kStage1Folder of a stage-2 model is copied too.
//
// With `blocks` (Q8_0, Q4_0 or Q4_K) the language model becomes a GGUF file of that type, which the
// directory keeps as kLanguageGguf in place of its tensors; one of our own then stays in its own
// layout, as does one whose image encoder is quantised (vision_weights.h) unless `weights` asks for
// another type. transformers does not read such a directory.
//
// Adapters of the language model (lora_files.h) are kept beside it or, with `merge_lora`, merged
// into its matrices in f32, which are then rounded to their type. transformers' classes do not keep
// them: a directory of our own that becomes one of these has to merge them or to stay as it is, and
// a GGUF file's blocks are merged into only if they become another type or are quantised again.
//
// The source is loaded first, strictly. Error naming file and tensor if something is missing or
// does not fit, if `folder` holds a model already, and for T5 in kHalf.
void convert_model(const std::filesystem::path& source, const std::filesystem::path& folder,
                   std::optional<at::ScalarType> weights, bool own_layout = false,
                   std::optional<DType> blocks = {}, bool merge_lora = false);

// Writes weights under this program's names as a model directory, as convert_model does with a
// source in this program's layout. `texts`: the folder with the files beside the weights
// (tokenizers, preprocessing).
void write_model(const std::shared_ptr<const TensorFile>& weights, const Blip2Config& config,
                 const std::filesystem::path& texts, const std::filesystem::path& folder,
                 std::optional<at::ScalarType> type, bool own_layout);

}  // namespace blip2

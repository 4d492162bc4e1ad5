#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include <ATen/core/ScalarType.h>

#include "blip2/io/tensor_file.h"
#include "blip2/model/config.h"

namespace blip2 {

// The layout of transformers' class that a model of this program's own fits, if there is one: an
// EVA-CLIP image encoder with either a language model or the heads of stage 1.
std::optional<ModelLayout> transformers_layout(const Blip2Config& config);

// Copies a model directory. `weights` (kFloat, kBFloat16, kHalf) of the image encoder, the language
// model and the projection between them and the Q-Former; the rest stays f32. Without it every
// tensor is copied bit for bit. A directory of transformers' stays one. One of our own becomes one
// where transformers has the class, unless `own_layout`: what the class does not have (the heads of
// stage 1 that only training needs, a text side that is not read) is left out, and <image> gets a
// word embedding. A stage-2 model takes its stage-1 model along under kStage1Folder.
//
// With `blocks` (Q8_0, Q4_0 or Q4_K) the language model becomes a GGUF file of that type, which the
// directory keeps as kLanguageGguf in place of its tensors; one of our own then stays in its own
// layout. transformers does not read such a directory.
//
// The source is loaded first, strictly. Error naming file and tensor if something is missing, does
// not fit, or `folder` holds a model already; for T5 in kHalf.
void convert_model(const std::filesystem::path& source, const std::filesystem::path& folder,
                   std::optional<at::ScalarType> weights, bool own_layout = false,
                   std::optional<DType> blocks = {});

// Writes a model of this program's names and configuration as a directory, as convert_model does
// with a source of our own. `texts` has what stands beside the weights: tokenizers, preprocessing.
void write_model(const std::shared_ptr<const TensorFile>& weights, const Blip2Config& config,
                 const std::filesystem::path& texts, const std::filesystem::path& folder,
                 std::optional<at::ScalarType> type, bool own_layout);

}  // namespace blip2

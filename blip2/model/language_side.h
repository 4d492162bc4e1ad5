#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "blip2/io/gguf.h"
#include "blip2/io/tensor_file.h"
#include "blip2/language/frozen_language.h"

namespace blip2 {

// Where a directory's language model has its weights: in a file, under a prefix of its names.
struct LanguageWeights {
  std::shared_ptr<const TensorFile> file;
  std::string prefix;
};

// The directory's GGUF file, or `weights`, which are the directory's. Error if neither has anything
// of a model that there is by `config`.
LanguageWeights language_weights(const std::filesystem::path& folder,
                                 std::shared_ptr<const TensorFile> weights,
                                 const std::optional<LanguageConfig>& config);

// The directory's language model for writing texts, with the adapters that the directory has beside
// it (lora_files.h): they are not merged, so that answers are those that training saw, whatever the
// weights' type, and weights stay in their mapped file. `precision` "f32", "bf16" or "f16", or
// "auto": as the files store it; of a GGUF file's matrices those in blocks stay so, and the rest is
// f32.
FrozenLanguage load_language(const std::filesystem::path& folder,
                             std::shared_ptr<const TensorFile> weights,
                             const LanguageConfig& config, const std::string& precision);

// Describes everything in a language model on which its states depend: weights, configuration, and
// how they are held. Models with the same text give the same states.
std::string describe_language(const LanguageWeights& weights, const LanguageConfig& config,
                              at::ScalarType type, MatrixForm form);

// Writes the language model of `weights` into `folder` as kLanguageGguf, its matrices in `type`
// (Q8_0, Q4_0 or Q4_K), with the tokenizer that `folder` has and, unless they are null, with the
// adapters `merged` into them. Error as write_language_gguf's: the folder then has no config.json,
// so that nobody takes it for what was asked for.
void write_quantised_language(const LanguageWeights& weights, const LanguageConfig& config,
                              DType type, const std::filesystem::path& folder,
                              const LoraAdapters* merged = nullptr);

// The same for a directory in this program's own layout, in place of the language model that it
// has; nothing if it has none.
void quantise_language(const std::filesystem::path& folder, DType type);

}  // namespace blip2

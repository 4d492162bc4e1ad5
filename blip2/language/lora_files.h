#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

#include "blip2/language/lora.h"

namespace blip2 {

// Adapters in the format of PyPI peft, beside the language model that they belong to.
inline constexpr char kLoraConfigFile[] = "adapter_config.json",
                      kLoraFile[] = "adapter_model.safetensors";

inline bool is_lora_file(std::string_view name) {
  return name == kLoraConfigFile || name == kLoraFile;
}
// Whether the folder has adapters, or one of their two files.
bool has_lora(const std::filesystem::path& folder);

// The adapters of the folder, or nullptr if it has none, in `type`; `trained`: as parameters in
// f32. peft's files are read as it writes them for a language model alone or as a part
// ("language_model.") of a model of transformers' BLIP-2: LoRA (rank-stabilised too) with
// target_modules as a list or a pattern ("all-linear" among them), without biases. Error that names
// file and key for anything that would change the numbers and is not supported (DoRA,
// modules_to_save, ranks by pattern, other kinds of adapters, other tasks ...) and numbers that are
// not finite; one Error for all tensors that are missing, of another shape or of no matrix.
std::shared_ptr<LoraAdapters> load_lora(const std::filesystem::path& folder,
                                        const LanguageConfig& config, at::ScalarType type,
                                        bool trained = false);

// Writes both files into the folder, in place of those that it has.
void save_lora(const LoraAdapters& adapters, const LanguageConfig& config,
               const std::filesystem::path& folder);

}  // namespace blip2

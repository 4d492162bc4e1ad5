#pragma once

#include <filesystem>
#include <memory>

#include "blip2/language/lora.h"
#include "blip2/model/config.h"
#include "blip2/model/language_side.h"
#include "blip2/model/weight_writer_internal.h"

namespace blip2 {

// What becomes of a directory's adapters when it is converted.
struct MergeChoices {
  bool merge = false;                 // into the language model; otherwise they stay beside it
  bool becomes_transformers = false;  // of our own layout now
  bool keeps_blocks = false;          // a GGUF file's blocks stay as they are
};

// The adapters of `source` that shall be merged, or null; Error if they cannot become what is asked
// for.
std::shared_ptr<const LoraAdapters> adapters_to_merge(const std::filesystem::path& source,
                                                      const Blip2Config& config,
                                                      const LanguageWeights& language,
                                                      const MergeChoices& choices);

// Has the adapter of a language model's matrix, if there is one, merged into it as it is written.
// `merged` (null: nothing is merged) lives as long as the tensor.
void merge_lora_into(WrittenTensor& tensor, const LoraAdapters* merged);

}  // namespace blip2

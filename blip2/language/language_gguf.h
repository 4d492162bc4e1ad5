#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "blip2/io/gguf_writer.h"
#include "blip2/io/tensor_file.h"
#include "blip2/language/frozen_language.h"

namespace blip2 {

// Writes the language model that `file` has under `prefix`, by Hugging Face's names or by GGUF's,
// as a GGUF file with its matrices in `type` (Q8_0, Q4_0 or Q4_K), those of
// block_choice_internal.h: names, order of rows, sizes and token ids as llama.cpp has them. The
// adapters `merged`, unless they are null, are merged into the matrices before these are rounded.
// An OPT, which llama.cpp does not know, has its tensors by the same names. `add_words` adds the
// tokenizer. One tensor is held at a time. Error as load_decoder_weights' if the tensors do not fit
// `config`; if a number is not finite or too large for the type; as AtomicFile's.
void write_language_gguf(const std::shared_ptr<const TensorFile>& file,
                         const LanguageConfig& config, const std::string& prefix, DType type,
                         const std::filesystem::path& path,
                         const std::function<void(GgufWriter&)>& add_words,
                         const LoraAdapters* merged = nullptr);

}  // namespace blip2

#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <string>

#include "blip2/io/tensor_file.h"
#include "blip2/language/decoder_config.h"

namespace blip2 {

// Writes the decoder-only language model that `file` has under `prefix`, read in `stored` (kFloat,
// kBFloat16 or kHalf), by Hugging Face's names, as a GGUF file with its matrices in `type` (Q8_0,
// Q4_0 or Q4_K): names, order of rows and sizes as llama.cpp has them (where it knows the
// architecture), no tokenizer. Word embeddings and head are Q8_0; what is no matrix is f32. A
// matrix whose width is no multiple of the type's block is Q8_0 or, failing that, f16. Error as
// load_decoder_weights' if the tensors do not fit `config`, or if a number is not finite.
void write_language_gguf(const std::shared_ptr<const TensorFile>& file, const DecoderConfig& config,
                         const std::string& prefix, at::ScalarType stored, DType type,
                         const std::filesystem::path& path);

}  // namespace blip2

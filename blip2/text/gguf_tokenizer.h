#pragma once

#include <cstdint>
#include <filesystem>

#include "blip2/io/gguf_writer.h"
#include "blip2/text/tokenizer_definition.h"

namespace blip2 {

// Adds a tokenizer to the metadata of a GGUF file as llama.cpp has it: tokens with their types and,
// where the model has them, merges and scores, how a text is cut, the unknown token, what stands
// around a text, the chat template. Ids of beginning, end and padding are the language model's
// affair. The file has `count` tokens: ids without one are "[PAD7]", unused, and tokens from
// `count` on (<image>) are left out. What llama.cpp has no name for (a pre-tokenizer that cuts off
// runs of digits, WordPiece) is left out with a warning. Error if a merge needs a token left out.
void add_gguf_tokenizer(const TokenizerDefinition& definition, std::int32_t count,
                        GgufWriter& writer);

// The same of the tokenizer that load_tokenizer would read at `path`.
void add_gguf_tokenizer(const std::filesystem::path& path, std::int32_t count, GgufWriter& writer);

}  // namespace blip2

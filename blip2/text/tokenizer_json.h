#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "blip2/text/tokenizer_definition.h"

namespace blip2 {

// A tokenizer.json of the `tokenizers` library: WordPiece with BERT's normaliser, or byte-level
// BPE. Truncation and padding are not taken. Error naming `where` and the key for anything missing,
// broken or not supported.
TokenizerDefinition read_tokenizer_json(const nlohmann::json& json, const std::string& where);

// The definition as the text of a tokenizer.json.
std::string write_tokenizer_json(const TokenizerDefinition& definition);

// The token -> id object of `model.vocab` or of a vocab.json, by id; "" where no token has the id.
std::vector<std::string> read_vocabulary(const nlohmann::json& json, const std::string& where);

// Merges as "a b" lines or ["a", "b"] pairs; "#version" lines are skipped.
std::vector<PairMerge> read_merges(const nlohmann::json& list, const TokenIds& ids,
                                   const std::string& where);

// The flags of an added token as JSON has them ("content", "lstrip", …).
AddedToken read_added_token(const nlohmann::json& json, const std::string& where);

}  // namespace blip2

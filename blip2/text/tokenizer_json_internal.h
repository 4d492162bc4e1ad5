#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "blip2/text/tokenizer_definition.h"

namespace blip2 {

// Reads a tokenizer.json of the `tokenizers` library: WordPiece with BERT's normaliser, byte-level
// BPE, BPE over characters, or unigram. Truncation and padding are ignored. Error naming `where`
// and the key if something is missing, malformed or not supported.
TokenizerDefinition read_tokenizer_json(const nlohmann::json& json, const std::string& where);

// The definition as the text of a tokenizer.json.
std::string write_tokenizer_json(const TokenizerDefinition& definition);

// The tokens of a token -> id object (`model.vocab`, or a vocab.json) by id; "" for a free id.
std::vector<std::string> read_vocabulary(const nlohmann::json& json, const std::string& where);

// Reads merges, given as "a b" lines or ["a", "b"] pairs; "#version" lines are skipped.
std::vector<PairMerge> read_merges(const nlohmann::json& list, const TokenIds& ids,
                                   const std::string& where);

// Reads an added token with its flags from JSON ("content", "lstrip", …).
AddedToken read_added_token(const nlohmann::json& json, const std::string& where);

}  // namespace blip2

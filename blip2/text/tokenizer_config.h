#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "blip2/text/tokenizer_definition.h"

namespace blip2 {

// Takes from a tokenizer_config.json (or special_tokens_map.json) what transformers takes beside a
// tokenizer.json: the tokens' roles, tokens to add, clean-up, the chat template.
void apply_tokenizer_config(const nlohmann::json& config, TokenizerDefinition& definition,
                            const std::string& where);

// Takes what stands around a text from add_bos_token and add_eos_token; transformers does so where
// there is no tokenizer.json.
void apply_added_ends(const nlohmann::json& config, TokenizerDefinition& definition,
                      const std::string& where);

// The definition's tokenizer_config.json as text.
std::string write_tokenizer_config(const TokenizerDefinition& definition);

// Definitions from the other files; `config` is the object of tokenizer_config.json.
TokenizerDefinition read_vocab_txt(const std::filesystem::path& vocab,
                                   const nlohmann::json& config);
TokenizerDefinition read_vocab_and_merges(const std::filesystem::path& vocab,
                                          const std::filesystem::path& merges,
                                          const nlohmann::json& config);
TokenizerDefinition read_gguf_tokenizer(const std::filesystem::path& path);

}  // namespace blip2

#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "blip2/text/tokenizer_definition.h"

namespace blip2 {

// Applies the settings of a tokenizer_config.json (or special_tokens_map.json) that transformers
// applies beside a tokenizer.json: the tokens' roles, tokens to add, clean-up.
void apply_tokenizer_config(const nlohmann::json& config, TokenizerDefinition& definition,
                            const std::string& where);

// Sets the chat template that came from chat_template_where, or what is wrong with an empty one.
// Error if it is not UTF-8.
void set_chat_template(std::string text, TokenizerDefinition& definition);
// Sets it from the configuration's key, if it is there: a string, or a list of named templates of
// which "default" counts. Error for a value of another kind.
void apply_chat_template(const nlohmann::json& config, TokenizerDefinition& definition);

// Sets the tokens around a text as add_bos_token and add_eos_token say; transformers does so if
// there is no tokenizer.json.
void apply_added_ends(const nlohmann::json& config, TokenizerDefinition& definition,
                      const std::string& where);

// The definition's tokenizer_config.json as text.
std::string write_tokenizer_config(const TokenizerDefinition& definition);

// Definitions from other files than a tokenizer.json; `config` is the object in
// tokenizer_config.json.
TokenizerDefinition read_vocab_txt(const std::filesystem::path& vocab,
                                   const nlohmann::json& config);
TokenizerDefinition read_vocab_and_merges(const std::filesystem::path& vocab,
                                          const std::filesystem::path& merges,
                                          const nlohmann::json& config);
TokenizerDefinition read_gguf_tokenizer(const std::filesystem::path& path);

}  // namespace blip2

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "blip2/data/batch.h"
#include "blip2/data/records.h"
#include "blip2/model/config.h"
#include "blip2/text/prompt.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

// The template with its first {} replaced by the question; Error if the template has no {}. Special
// tokens count in the template. Several threads may call the functions of this header at once.
Prompt fill_prompt(const std::string& pattern, const Prompt& question);

// What a model is asked of a record: the caption prompt, or the question in its template.
Prompt record_prompt(const Record& record, const std::string& caption_prompt,
                     const std::string& question_prompt);

// The format of prompts and targets for a model's language model, in training and in generating:
// its templates, a space before the target, and the end token after the target; for a model of
// chats the chat template and what ends an answer in it. Error if there is no such template.
PromptFormat prompt_format(const Blip2Config& config, const Tokenizer& language);

// What the language model's tokenizer puts before a text (Llama's <s>, OPT's </s>), if anything.
// T5's has nothing there, and its end token after a text.
std::vector<std::int32_t> text_start(const LanguageConfig& config, const Tokenizer& language);
// A text's tokens, text_start included, as the language model reads it for the Q-Former: by itself
// and no further than its positions reach. A T5 ends every text that it reads by its end token.
std::vector<std::int64_t> read_alone(const LanguageConfig& config,
                                     std::vector<std::int64_t> tokens);

}  // namespace blip2

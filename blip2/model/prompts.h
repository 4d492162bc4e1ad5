#pragma once

#include <string>

#include "blip2/data/batch.h"
#include "blip2/data/records.h"
#include "blip2/model/config.h"
#include "blip2/text/prompt.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

// The template with its first {} replaced by the question; Error if there is none. Special tokens
// count in the template.
Prompt fill_prompt(const std::string& pattern, const Prompt& question);

// What a model is asked of a record: the caption prompt, or the question in its template.
Prompt record_prompt(const Record& record, const std::string& caption_prompt,
                     const std::string& question_prompt);

// How this model's language model is prompted, in training and in answering: its prompts, a space
// before the target, and its end token after it.
PromptFormat prompt_format(const Blip2Config& config, const Tokenizer& language);

}  // namespace blip2

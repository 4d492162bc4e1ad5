#pragma once

#include <string>

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

}  // namespace blip2

#include "blip2/model/prompts.h"

#include "blip2/base/error.h"

namespace blip2 {

Prompt fill_prompt(const std::string& pattern, const Prompt& question) {
  if (pattern.find("{}") == std::string::npos) {
    throw Error("expected {} for the question, got '" + pattern + "'", "question template");
  }
  return fill_template(pattern, question);
}

Prompt record_prompt(const Record& record, const std::string& caption_prompt,
                     const std::string& question_prompt) {
  return record.is_question() ? fill_prompt(question_prompt, Prompt::plain(record.question))
                              : Prompt(caption_prompt);
}

PromptFormat prompt_format(const Blip2Config& config, const Tokenizer& language) {
  PromptFormat format;
  format.caption = config.caption_prompt;
  format.question = config.question_prompt;
  // What the tokenizer puts before a text (Llama's <s>, OPT's </s>), if anything. T5's has nothing
  // there, and its end token after a text.
  if (!std::holds_alternative<T5Config>(*config.language)) format.start = language.encode("");
  format.end = {end_tokens(*config.language).front()};
  return format;
}

}  // namespace blip2

#include "blip2/model/prompts.h"

#include "blip2/base/error.h"

namespace blip2 {

std::string fill_prompt(const std::string& pattern, const std::string& question) {
  const auto place = pattern.find("{}");
  if (place == std::string::npos) {
    throw Error("expected {} for the question, got '" + pattern + "'", "question template");
  }
  return pattern.substr(0, place) + question + pattern.substr(place + 2);
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

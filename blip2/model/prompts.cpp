#include "blip2/model/prompts.h"

#include <algorithm>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

// The ids that end an answer in a chat: what the template writes behind it, up to the first token
// at which texts end or turns change. The language model's end token if there is none.
std::vector<std::int32_t> answer_end(const ChatTemplate& chat, const LanguageConfig& config,
                                     const Tokenizer& language) {
  const std::vector<std::int32_t> ends = end_tokens(config), turns = language.turn_tokens();
  std::vector<std::int32_t> ids = language.encode(text_behind_answer(chat), false);
  const auto last = std::find_if(ids.begin(), ids.end(), [&](std::int32_t id) {
    return std::ranges::find(ends, id) != ends.end() || std::ranges::find(turns, id) != turns.end();
  });
  if (last == ids.end()) return {ends.front()};
  ids.erase(last + 1, ids.end());
  return ids;
}

}  // namespace

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

std::vector<std::int32_t> text_start(const LanguageConfig& config, const Tokenizer& language) {
  if (std::holds_alternative<T5Config>(config)) return {};
  return language.encode("");
}

std::vector<std::int64_t> read_alone(const LanguageConfig& config,
                                     std::vector<std::int64_t> tokens) {
  const std::int64_t most = most_positions(config);
  if (most > 0 && std::ssize(tokens) > most) tokens.resize(static_cast<std::size_t>(most));
  if (std::holds_alternative<T5Config>(config)) tokens.push_back(end_tokens(config).front());
  return tokens;
}

PromptFormat prompt_format(const Blip2Config& config, const Tokenizer& language) {
  PromptFormat format;
  format.caption = config.caption_prompt;
  format.question = config.question_prompt;
  format.start = text_start(*config.language, language);
  format.end = {end_tokens(*config.language).front()};
  if (!config.chat_prompts) return format;
  format.chat = std::make_shared<ChatTemplate>(language.chat_template());
  format.end = answer_end(*format.chat, *config.language, language);
  return format;
}

}  // namespace blip2

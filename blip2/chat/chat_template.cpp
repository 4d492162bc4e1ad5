#include "blip2/chat/chat_template.h"

#include <fmt/format.h>

#include "blip2/base/error.h"
#include "blip2/chat/jinja_template_internal.h"
#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

constexpr std::time_t kPromptDay = 1721952000;  // 26 Jul 2024, the date in Llama 3's template

std::tm time_of(const std::optional<std::time_t>& now) {
  std::tm time = {};
  if (now) {
    gmtime_r(&*now, &time);
  } else {
    const std::time_t present = std::time(nullptr);
    localtime_r(&present, &time);
  }
  return time;
}

JinjaValue message_value(JinjaHeap& heap, const ChatMessage& message) {
  const PlainText typed = message.content.plain_parts();
  JinjaDict* dict = heap.dict();
  heap.set(*dict, heap.own("role"), heap.own(to_valid_utf8(message.role)));
  heap.set(*dict, heap.own("content"),
           heap.text(JinjaText(message.content.text(), {typed.begin(), typed.end()})));
  return dict;
}

}  // namespace

struct ChatTemplate::Program {
  JinjaBlock block;
};

ChatTemplate::ChatTemplate(ChatTemplateSource source, const TemplateLimits& limits)
    : source_(std::move(source)), limits_(limits) {
  if (source_.text.empty() && !source_.fault.empty()) throw Error(source_.fault, source_.where);
  if (source_.text.empty()) {
    throw Error("the language model has no chat template", source_.where,
                "expected chat_template in tokenizer_config.json (a string, or a list with one "
                "named default), chat_template.jinja, or tokenizer.chat_template in a GGUF file");
  }
  if (source_.text.size() > limits.source) {
    throw Error(fmt::format("expected a template of {} bytes at most, got {}", limits.source,
                            source_.text.size()),
                source_.where);
  }
  program_ =
      std::make_shared<Program>(Program{parse_jinja(to_valid_utf8(source_.text), source_.where)});
}

Prompt ChatTemplate::apply(std::span<const ChatMessage> messages,
                           const ChatChoices& choices) const {
  const JinjaText text =
      run_jinja(program_->block, source_.where, limits_, time_of(choices.now),
                [&](JinjaHeap& heap, JinjaScope& scope) {
                  for (const auto& [role, token] : source_.tokens)
                    scope.set(heap, role, heap.own(token));
                  std::vector<JinjaValue> values;
                  for (const ChatMessage& message : messages)
                    values.push_back(message_value(heap, message));
                  scope.set(heap, "messages", heap.list(std::move(values)));
                  scope.set(heap, "tools", JinjaNone{});
                  scope.set(heap, "documents", JinjaNone{});
                  scope.set(heap, "add_generation_prompt", choices.add_generation_prompt);
                  if (choices.enable_thinking)
                    scope.set(heap, "enable_thinking", *choices.enable_thinking);
                });
  Prompt prompt = Prompt::whole(text.bytes(), text.typed());
  if (!messages.empty()) prompt.set_instruction(messages.back().content);
  return prompt;
}

ChatChoices prompt_choices() {
  return {.add_generation_prompt = true, .enable_thinking = false, .now = kPromptDay};
}

Prompt chat_turn(const ChatTemplate& chat, const Prompt& words) {
  const ChatMessage turn{"user", words};
  return chat.apply(std::span(&turn, 1), prompt_choices());
}

std::string text_behind_answer(const ChatTemplate& chat) {
  static constexpr char kAnswer[] = "blue-green-answer";
  ChatChoices choices = prompt_choices();
  choices.add_generation_prompt = false;
  const ChatMessage turns[] = {{"user", "hi"}, {"assistant", kAnswer}};
  const std::string text = chat.apply(turns, choices).text();
  const std::size_t found = text.rfind(kAnswer);
  return found == std::string::npos ? "" : text.substr(found + sizeof kAnswer - 1);
}

}  // namespace blip2

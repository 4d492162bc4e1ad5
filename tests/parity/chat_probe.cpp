// chat: reads lines {"template": …, "tokens": {role: token}, "now": seconds, "cases": [{…}, …]}
// from standard input and writes a line of answers to each: a list of {"text": …, "typed": [[begin,
// end], …]} or {"error": …}. A case has the template's variables; what stands in a message's
// content was typed. A case of plain messages goes through ChatTemplate too, which must write the
// same.
#include <iostream>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/chat/chat_template.h"
#include "blip2/chat/jinja_template_internal.h"

namespace {

using json = nlohmann::ordered_json;
using namespace blip2;  // NOLINT: a small program

JinjaValue value_of(JinjaHeap& heap, const json& from, bool typed) {
  if (from.is_null()) return JinjaNone{};
  if (from.is_boolean()) return from.get<bool>();
  if (from.is_number_integer()) return from.get<std::int64_t>();
  if (from.is_number()) return from.get<double>();
  if (from.is_string()) return heap.text(JinjaText().append(from.get<std::string>(), typed));
  if (from.is_array()) {
    std::vector<JinjaValue> items;
    for (const json& item : from) items.push_back(value_of(heap, item, typed));
    return heap.list(std::move(items));
  }
  JinjaDict* dict = heap.dict();
  for (const auto& [key, item] : from.items()) {
    const bool content = key == "content" || key == "text";
    heap.set(*dict, heap.own(key), value_of(heap, item, typed || content));
  }
  return dict;
}

// The dialogue as ChatTemplate takes it; false if it has more than that.
bool plain_messages(const json& variables, std::vector<ChatMessage>& messages,
                    ChatChoices& choices) {
  for (const auto& [name, value] : variables.items()) {
    if (name == "add_generation_prompt") choices.add_generation_prompt = value;
    if (name == "enable_thinking") choices.enable_thinking = value.get<bool>();
    const bool known = name == "messages" || name == "add_generation_prompt" ||
                       name == "enable_thinking" || value.is_null();
    if (!known) return false;
  }
  for (const json& message : variables["messages"]) {
    if (message.size() != 2 || !message["content"].is_string()) return false;
    messages.push_back({message["role"], Prompt::plain(message["content"].get<std::string>())});
  }
  return true;
}

json shown(const std::string& text, PlainText typed) {
  json stretches = json::array();
  for (const TextStretch& stretch : typed) stretches.push_back({stretch.begin, stretch.end});
  return {{"text", text}, {"typed", stretches}};
}

json rendered(const JinjaBlock& block, const ChatTemplateSource& source, const json& variables,
              std::time_t now) {
  std::tm time = {};
  gmtime_r(&now, &time);
  const JinjaText text =
      run_jinja(block, source.where, {}, time, [&](JinjaHeap& heap, JinjaScope& scope) {
        for (const auto& [role, token] : source.tokens) scope.set(heap, role, heap.own(token));
        for (const auto& [name, value] : variables.items()) {
          scope.set(heap, name, value_of(heap, value, false));
        }
      });
  return shown(text.bytes(), text.typed());
}

json answer_case(const ChatTemplateSource& source, const json& variables, std::time_t now) {
  try {
    const json text = rendered(parse_jinja(source.text, source.where), source, variables, now);
    std::vector<ChatMessage> messages;
    ChatChoices choices;
    choices.now = now;
    if (!plain_messages(variables, messages, choices)) return text;
    const Prompt prompt = ChatTemplate(source).apply(messages, choices);
    if (shown(prompt.text(), prompt.plain_parts()) == text) return text;
    return {{"error", "ChatTemplate writes another text"}};
  } catch (const Error& error) {
    return {{"error", error.what()}};
  }
}

json answer(const json& line) {
  ChatTemplateSource source{line["template"], "template", {}};
  for (const auto& [role, token] : line["tokens"].items()) source.tokens[role] = token;
  json answers = json::array();
  for (const json& variables : line["cases"]) {
    answers.push_back(answer_case(source, variables, line["now"]));
  }
  return answers;
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << answer(json::parse(line)).dump() << '\n';
  }
  return 0;
}

#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "blip2/chat/template_limits.h"
#include "blip2/text/prompt.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  Prompt content;
};

// What a template is told beside the messages. Templates that know no thinking ignore that choice.
struct ChatChoices {
  bool add_generation_prompt = true;    // the text ends with the opening of the assistant's turn
  std::optional<bool> enable_thinking;  // nullopt: as the template has it
  std::optional<std::time_t> now = {};  // what strftime_now gives, in UTC; nullopt: local time
};

// A chat template of a language model, as transformers' apply_chat_template runs it, in a bounded
// interpreter of Jinja: no files, no attributes of a host, and limits on steps, memory, nesting and
// output. Which stretches of the messages somebody typed stays known in the text, so that special
// tokens written out there do not count. Const functions may run on several threads at once.
class ChatTemplate {
 public:
  // Error that names the source and the line if it is no template, and if there is none.
  explicit ChatTemplate(ChatTemplateSource source, const TemplateLimits& limits = {});

  // The text of a dialogue. It is whole: begin tokens stand in it where the template wants them. A
  // Q-Former that reads prompts gets the last message's content. Error that names the source and
  // the line if the template refuses the dialogue, fails or passes a limit.
  Prompt apply(std::span<const ChatMessage> messages, const ChatChoices& choices = {}) const;

 private:
  struct Program;
  ChatTemplateSource source_;
  TemplateLimits limits_;
  std::shared_ptr<const Program> program_;
};

// The choices by which this program makes prompts, in training and in generating: models that think
// are asked not to, and the date is always the same, so that a prompt never depends on the day.
ChatChoices prompt_choices();

// A prompt as the turn of a user that the assistant is to answer, by prompt_choices().
Prompt chat_turn(const ChatTemplate& chat, const Prompt& words);

// What the template writes behind an assistant's answer ("<|im_end|>\n"); empty if the answer
// cannot be found in what it writes.
std::string text_behind_answer(const ChatTemplate& chat);

}  // namespace blip2

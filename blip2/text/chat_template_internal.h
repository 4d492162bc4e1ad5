#pragma once

#include <span>
#include <string>

namespace blip2 {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

// The text that SmolLM2-Instruct's template (ChatML) makes of a conversation, as transformers'
// apply_chat_template does: each message stands between <|im_start|>role and <|im_end|>, and the
// model's default system message comes first if the conversation has none. With
// add_generation_prompt the text ends with the opening of the assistant's turn.
std::string apply_chat_template(std::span<const ChatMessage> messages, bool add_generation_prompt);

}  // namespace blip2

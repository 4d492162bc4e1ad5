#pragma once

#include <span>
#include <string>

namespace blip2 {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

// The text that SmolLM2-Instruct's template (ChatML) makes of a conversation, as transformers'
// apply_chat_template does: each message between <|im_start|>role and <|im_end|>, the model's own
// system message first if the conversation has none. add_generation_prompt ends with the opening of
// the assistant's turn.
std::string apply_chat_template(std::span<const ChatMessage> messages, bool add_generation_prompt);

}  // namespace blip2

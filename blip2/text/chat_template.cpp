#include "blip2/text/chat_template_internal.h"

#include <string_view>

namespace blip2 {
namespace {

constexpr std::string_view kDefaultSystem =
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face";

std::string turn(std::string_view role, std::string_view content) {
  std::string text = "<|im_start|>";
  text.append(role).append("\n").append(content).append("<|im_end|>\n");
  return text;
}

}  // namespace

std::string apply_chat_template(std::span<const ChatMessage> messages, bool add_generation_prompt) {
  std::string text;
  if (!messages.empty() && messages.front().role != "system") {
    text = turn("system", kDefaultSystem);
  }
  for (const ChatMessage& message : messages) text += turn(message.role, message.content);
  if (add_generation_prompt) text += "<|im_start|>assistant\n";
  return text;
}

}  // namespace blip2

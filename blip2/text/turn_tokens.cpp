#include "blip2/text/turn_tokens_internal.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <string_view>

namespace blip2 {
namespace {

// ChatML (Qwen, SmolLM), Gemma, Llama 3, Mistral's instructions.
constexpr auto kOpeners = std::to_array<std::string_view>(
    {"<|im_start|>", "<start_of_turn>", "<|start_header_id|>", "[INST]"});
constexpr auto kSpeakers = std::to_array<std::string_view>({"system", "user", "assistant"});

// "<|user|>" -> "user"; templates may put such names together ('<|' + role + '|>').
std::string letters_of(std::string_view token) {
  std::string letters;
  for (const char c : token) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && std::isalnum(byte)) letters += static_cast<char>(std::tolower(byte));
  }
  return letters;
}

bool is_turn_token(const TokenizerDefinition& definition, const std::string& token) {
  const std::string& pattern = definition.chat_template;
  if (pattern.empty()) return std::ranges::find(kOpeners, token) != kOpeners.end();
  if (pattern.find(token) != std::string::npos) return true;
  if (std::ranges::find(kSpeakers, letters_of(token)) != kSpeakers.end()) return true;
  return std::ranges::any_of(definition.roles, [&](const auto& role) {
    const bool ends = role.first == "bos_token" || role.first == "eos_token";
    return ends && role.second == token && pattern.find(role.first) != std::string::npos;
  });
}

}  // namespace

std::vector<std::int32_t> turn_tokens(const TokenizerDefinition& definition) {
  std::vector<std::int32_t> ids;
  for (const auto& [id, token] : definition.added) {
    if (token.special && is_turn_token(definition, token.content)) ids.push_back(id);
  }
  return ids;
}

}  // namespace blip2

#pragma once

#include <string>
#include <vector>

#include "blip2/protocols/completion.h"
#include "blip2/protocols/request_json_internal.h"

// Settings of generation that OpenAI's and Ollama's requests name alike or nearly so.
namespace blip2 {

inline constexpr std::int64_t kMost32 = 0x7fffffff, kMost64 = 0x7fffffffffffffff;

// temperature, top_p and top_k: what they are, and whether tokens are drawn. A temperature or
// top_p of 0 means the most probable tokens, as does a top_k of 1.
void read_sampling(const Members& members, GenerationSettings& settings);

// presence_penalty and frequency_penalty.
void read_penalties(const Members& members, CompletionRequest& request);

// logprobs and top_logprobs.
void read_logprobs(const Members& members, const RequestLimits& limits, CompletionRequest& request);

// The `stop` member: a string or a list of strings.
std::vector<std::string> read_stops(const Members& members, const RequestLimits& limits);

// Refuses a request without pictures and texts, or whose last turn is the assistant's.
void check_turns(const std::vector<Turn>& turns, const std::string& path);

}  // namespace blip2

#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "blip2/protocols/completion.h"

namespace blip2 {

// {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"}.
nlohmann::ordered_json openai_usage(const Usage& usage);
// [{"token", "logprob", "bytes", "top_logprobs"}].
nlohmann::ordered_json openai_logprobs(const std::vector<TokenLogprob>& tokens);

}  // namespace blip2

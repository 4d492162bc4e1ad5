#pragma once

#include <vector>

#include "blip2/protocols/completion.h"
#include "blip2/protocols/request_json_internal.h"

namespace blip2 {

// The turns of `messages`: at least one, the last one not the assistant's, pictures only in the
// user's.
std::vector<Turn> read_openai_messages(const Members& request, const RequestLimits& limits);

// The list of messages, its length checked.
const nlohmann::json& message_list(const Members& request, const RequestLimits& limits);

// "system" (also for "developer"), "user" or "assistant"; refused otherwise.
std::string read_role(const Members& message);

}  // namespace blip2

#pragma once

#include "blip2/protocols/known_members_internal.h"

// What requests of OpenAI's and of vLLM's shapes may have besides what is read.
namespace blip2 {

// Of /v1/chat/completions.
extern const KnownMembers kChatMembers;
// Of a message in it.
extern const KnownMembers kMessageMembers;

}  // namespace blip2

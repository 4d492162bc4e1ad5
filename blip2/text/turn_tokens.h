#pragma once

#include <cstdint>
#include <vector>

#include "blip2/text/tokenizer_definition.h"

namespace blip2 {

// The special tokens that the chat template writes, by name or by role (bos_token), or that are
// named after a speaker ("<|user|>"); without a template those by which the common formats open a
// turn. In rising order.
std::vector<std::int32_t> turn_tokens(const TokenizerDefinition& definition);

}  // namespace blip2

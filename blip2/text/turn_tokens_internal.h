#pragma once

#include <cstdint>
#include <vector>

#include "blip2/text/tokenizer_definition.h"

namespace blip2 {

// The special tokens that open or close turns, in rising order: tokens that the chat template
// writes, by name or by role (bos_token), and tokens named after a speaker ("<|user|>"). Without a
// template they are the tokens by which the common formats open a turn.
std::vector<std::int32_t> turn_tokens(const TokenizerDefinition& definition);

}  // namespace blip2

#pragma once

#include <cstdint>

#include "blip2/language/teacher_forcing.h"

namespace blip2 {

// Prefix language modelling (arXiv 2301.12597, section 3.3), for encoder-decoder models: the answer
// is split at a random place. Its first k tokens go to the encoder after the prompt, the remaining
// tokens to the decoder. k is uniform in 0 … n - 1 for n tokens before the end token, so that at
// least one token is left to predict; k = 0 is language modelling. The result is a function of row
// and seed.
ForcedRow split_answer(ForcedRow row, std::uint64_t seed);

}  // namespace blip2

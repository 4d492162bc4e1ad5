#pragma once

#include <cstdint>

#include "blip2/language/teacher_forcing.h"

namespace blip2 {

// Prefix language modelling (arXiv 2301.12597, section 3.3), for encoder-decoder models: the answer
// is split at a random place, its first k tokens go to the encoder after the prompt, the rest to
// the decoder. k is uniform in 0 … n - 1 for n tokens before the end token: something is always
// left to say, and without a prefix it is language modelling. A function of row and seed.
ForcedRow split_answer(ForcedRow row, std::uint64_t seed);

}  // namespace blip2

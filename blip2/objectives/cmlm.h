#pragma once

#include <cstdint>

#include "blip2/language/teacher_forcing.h"

namespace blip2 {

// Conditional masked language modelling: given picture and instruction (which the Q-Former and the
// language model both read), hidden tokens of the answer are predicted. It trains as Mask-Predict
// does (arXiv 1904.09324, section 3): of the answer's n tokens, end token included, m are hidden; m
// is uniform in 1 … n and so are the places. The model reads `mask_token` at these places and has
// to predict the hidden tokens; it reads the other tokens unchanged and does not predict them. A
// causal model predicts each token one place ahead and sees the unmasked tokens before it: the more
// tokens are hidden, the more must come from the picture. The result is a function of row and seed.
ForcedRow mask_answer(ForcedRow row, std::int64_t mask_token, std::uint64_t seed);

}  // namespace blip2

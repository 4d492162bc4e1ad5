#pragma once

#include <cstdint>

#include "blip2/language/teacher_forcing.h"

namespace blip2 {

// Conditional masked language modelling: given picture and instruction (which the Q-Former and the
// language model both read), the answer is masked and predicted. As Mask-Predict (arXiv 1904.09324,
// section 3) trains it: of the answer's n tokens, the end token among them, m are hidden, m uniform
// in 1 … n and the places uniform. The model reads `mask_token` there and has to predict the hidden
// tokens; the others are read as they are and not asked for. A causal model predicts each token one
// place ahead and sees what was left of the answer before it, so that the more is hidden the more
// must come from the picture. A function of row and seed.
ForcedRow mask_answer(ForcedRow row, std::int64_t mask_token, std::uint64_t seed);

}  // namespace blip2

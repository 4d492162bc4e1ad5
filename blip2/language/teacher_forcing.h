#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <vector>

#include "blip2/language/language_model.h"
#include "blip2/language/t5.h"
#include "blip2/nn/ignored_label.h"

namespace blip2 {

// The tokens that a frozen language model reads and has to predict for one picture, with teacher
// forcing. Plain language modelling reads the answer that it predicts; prefix_lm.h and cmlm.h turn
// plain rows into the rows of other objectives.
struct ForcedRow {
  std::vector<std::int64_t> prompt;  // read after the soft prompts; may be empty
  // The answer with its end token, as the model reads it (shifted by one token) and as it has to
  // predict it. Both have the same length; targets are kIgnoredLabel where nothing is predicted.
  std::vector<std::int64_t> read, targets;
};

// The losses [M] in nats of all targets except kIgnoredLabel, row after row (arXiv 2301.12597,
// section 3.3). `soft` [B, Q, width]: soft prompts; `rows`: B rows, each with at least one token to
// predict. A decoder reads soft prompts, prompt and answer in one sequence.
at::Tensor forced_losses(LanguageModel& language, const at::Tensor& soft,
                         std::span<const ForcedRow> rows);
// T5's encoder reads soft prompts, prompt and the end token (as T5 ends every text that it reads),
// its decoder the answer.
at::Tensor forced_losses(const T5& language, const at::Tensor& soft,
                         std::span<const ForcedRow> rows);

}  // namespace blip2

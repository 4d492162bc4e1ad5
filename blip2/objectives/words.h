#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <vector>

#include "blip2/objectives/itg.h"

namespace blip2 {

// The words objective of stage 2: soft prompt q shall point to the word embedding of the target's
// token q. It costs the Q-Former alone, a fraction of a step through the language model. Not from
// the paper: it teaches short targets (answers) with few steps, beside the language model's loss.
class WordTargets {
 public:
  // The words to tell apart: token ids without repeats [S] and their embeddings [S, width] f32.
  // `sharpness`: the logits are so many times the cosines of soft prompts with embeddings.
  WordTargets(std::span<const std::int64_t> ids, const at::Tensor& embeddings, double sharpness);

  // Places in the table of the first Q tokens of each text, kIgnoredLabel beyond its end and for a
  // token that is not in the table: [B, Q].
  at::Tensor places(const std::vector<std::vector<std::int64_t>>& texts,
                    std::int64_t queries) const;

  // Cross-entropy of soft prompts [B, Q, width] f32 against places [B, Q]. Cosines leave the
  // prompts' length to the language model.
  TokenLoss loss(const at::Tensor& soft, const at::Tensor& places, double label_smoothing) const;

 private:
  std::vector<std::int64_t> place_of_;  // by token id; -1: not in the table
  at::Tensor table_;                    // [S, width], each as long as the sharpness
};

}  // namespace blip2

#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <vector>

#include "blip2/objectives/itg.h"

namespace blip2 {

// The words objective: soft prompt q has to point to the word embedding of the target's token q. It
// needs a pass of the Q-Former alone, a fraction of a step through the language model. It is not
// from the paper: beside the language model's loss it teaches short targets (answers) in few steps.
class WordTargets {
 public:
  // The classes: token ids without repeats [S] and their embeddings [S, width] f32. `sharpness`:
  // the factor from cosines of soft prompts and embeddings to logits.
  WordTargets(std::span<const std::int64_t> ids, const at::Tensor& embeddings, double sharpness);

  // The classes of the first Q tokens of each text, [B, Q]: places in the table, kIgnoredLabel
  // beyond the text's end and for a token that is not in the table.
  at::Tensor places(const std::vector<std::vector<std::int64_t>>& texts,
                    std::int64_t queries) const;

  // The cross-entropy of soft prompts [B, Q, width] f32 against places [B, Q]. As logits are
  // cosines, the loss leaves the length of soft prompts free.
  TokenLoss loss(const at::Tensor& soft, const at::Tensor& places, double label_smoothing) const;

 private:
  std::vector<std::int64_t> place_of_;  // by token id; -1: not in the table
  at::Tensor table_;                    // [S, width], rows as long as the sharpness
};

}  // namespace blip2

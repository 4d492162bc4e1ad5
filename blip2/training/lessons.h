#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "blip2/data/batch.h"
#include "blip2/model/bridge.h"
#include "blip2/objectives/lm.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

// What the tasks of stage 2 share.

// The soft prompts [B, Q, width] of a batch with its pictures' features [B, P, De]; the Q-Former
// reads the batch's instructions if it has some.
at::Tensor see(const Bridge& bridge, const PromptBatch& batch, const at::Tensor& features,
               const ComputeOptions& compute);

// What stands for a hidden token of an answer (CMLM): the tokenizer's mask token or, as most
// language models have none, T5's <extra_id_0>, the unknown, the padding or the end token, the
// first that there is. Error if there is none.
std::int64_t answer_mask(const Tokenizer& language);

// The rows of a batch as plain language modelling teaches them.
std::vector<SpokenRow> spoken_rows(const PromptBatch& batch);

// The rows of a batch with parts of their answers hidden (CMLM); a function of the arguments, the
// first row having the place `first_row` in a larger batch.
std::vector<SpokenRow> masked_rows(const PromptBatch& batch, std::int64_t mask_token,
                                   std::uint64_t seed, std::int64_t first_row);

}  // namespace blip2

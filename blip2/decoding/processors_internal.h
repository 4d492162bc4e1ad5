#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "blip2/decoding/options.h"

namespace blip2 {

// Changes one row's scores as transformers' logits processors do, in their order: repetition
// penalty over `seen`, no n-gram of `seen` a second time, no end token before min_new_tokens; after
// the first of them the penalties of presence and frequency over what was generated, as OpenAI
// defines them. `generated`: tokens generated so far, the last ones of `seen`.
void process_scores(std::span<float> scores, std::span<const std::int32_t> seen,
                    std::int64_t generated, const GenerationOptions& options);

// The processors that sampling adds, in this order: temperature, top-k, top-p. Excluded scores
// become -infinity; with several beams at least one token more than there are end tokens stays.
void warp_scores(std::span<float> scores, const GenerationOptions& options);

// log(sum(exp(scores)))
float log_sum_exp(std::span<const float> scores);

}  // namespace blip2

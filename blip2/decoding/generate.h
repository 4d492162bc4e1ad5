#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "blip2/decoding/options.h"
#include "blip2/decoding/search.h"

namespace blip2 {

// The source of next-token logits: several sequences ("rows") that are continued side by side.
struct StepFunction {
  std::int64_t vocabulary;
  // Continues row i by tokens[i]; returns the logits after it, [rows, vocabulary], valid until the
  // next call.
  std::function<std::span<const float>(std::span<const std::int32_t> tokens)> advance;
  // Row i becomes a continuation of the present row sources[i]; rows may be repeated or dropped.
  std::function<void(std::span<const std::int32_t> sources)> select;
};

// Continues each prompt: element i of the result holds options.return_sequences answers to prompt
// i, best first. `logits` [prompts, vocabulary] are the logits after the prompts; at the start row
// i of `step` is prompt i. Equal to transformers' generate(inputs_embeds=...), where the prompts'
// tokens are unknown; `prompt_ids` (one list a prompt, or none) gives the tokens that the
// repetition penalty counts from the start. A prompt's answers do not depend on the other prompts;
// samples depend on its seed alone. `stops` looks for options.stop_strings.
std::vector<std::vector<Generated>> generate(
    const StepFunction& step, std::span<const float> logits, const GenerationOptions& options,
    std::span<const std::vector<std::int32_t>> prompt_ids = {}, const StopCheck& stops = {});

}  // namespace blip2

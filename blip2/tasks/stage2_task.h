#pragma once

#include <memory>
#include <span>

#include "blip2/language/frozen_language.h"
#include "blip2/tasks/task.h"
#include "blip2/tasks/text_states.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

// The two tokenizers of a stage-2 model: the language model's, and the Q-Former's for prompts that
// it reads.
struct StageTokenizers {
  const Tokenizer &language, &qformer;
};

// Stage 2: the queries learn to prompt the frozen language model; the loss counts tokens of
// captions and answers only. `states`: the language model's states of prompts, if the Q-Former
// reads them; it never reads any of an answer. `train`, `validation` and `ranks`: as for stage 1.
std::unique_ptr<TrainingTask> make_stage2_task(
    const Recipe& recipe, std::shared_ptr<const Bridge> bridge, FrozenLanguage language,
    const StageTokenizers& tokenizers, std::span<const Record> train,
    std::span<const Record> validation, std::shared_ptr<TextStates> states, const Ranks* ranks);

}  // namespace blip2

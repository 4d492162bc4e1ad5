#pragma once

#include <memory>

#include "blip2/text/tokenizer.h"
#include "blip2/training/task.h"

namespace blip2 {

// Stage 1: the Q-Former learns to represent what texts say of pictures (ITC, ITM, ITG).
// `train` must not be empty; `validation` may be. The tokenizer is the Q-Former's, with [DEC].
std::unique_ptr<TrainingTask> make_stage1_task(const Recipe& recipe, std::shared_ptr<Bridge> bridge,
                                               const Tokenizer& tokenizer, Dataset train,
                                               Dataset validation);

}  // namespace blip2

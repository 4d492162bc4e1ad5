#pragma once

#include <memory>

#include "blip2/language/frozen_language.h"
#include "blip2/training/spoken_data.h"
#include "blip2/training/task.h"

namespace blip2 {

// Stage 2: the queries learn to speak to the frozen language model, with the loss on captions and
// answers only. `train` must not be empty; `validation` may be. `ranks` as for stage 1.
std::unique_ptr<TrainingTask> make_stage2_task(const Recipe& recipe, std::shared_ptr<Bridge> bridge,
                                               FrozenLanguage language,
                                               const StageTokenizers& tokenizers, Dataset train,
                                               Dataset validation, const Ranks* ranks);

}  // namespace blip2

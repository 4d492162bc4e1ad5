#pragma once

#include <memory>

#include "blip2/language/t5.h"
#include "blip2/training/stage2_task.h"

namespace blip2 {

// Stage 2 with an encoder-decoder: the queries learn to speak to a frozen T5's encoder, whose
// decoder says the captions (objectives.lm), their random rest (objectives.prefix_lm; questions
// are answered whole), or hidden tokens (objectives.cmlm). Validation is by plain language
// modelling. `train` must not be empty; `validation` may be; `ranks` as for stage 1.
std::unique_ptr<TrainingTask> make_prefix_lm_task(const Recipe& recipe,
                                                  std::shared_ptr<Bridge> bridge,
                                                  std::shared_ptr<const T5> language,
                                                  const StageTokenizers& tokenizers, Dataset train,
                                                  Dataset validation, const Ranks* ranks);

}  // namespace blip2

#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <vector>

#include "blip2/data/batch.h"
#include "blip2/language/language_model.h"
#include "blip2/objectives/words.h"
#include "blip2/training/task.h"

namespace blip2 {

// The words objective over the targets of some training data.
class WordsLesson {
 public:
  WordsLesson(const PromptData& data, const LanguageModel& language,
              const ObjectivesRecipe& recipe);

  // The weighted loss of some rows of a batch with its soft prompts [B, Q, width], with meters.
  TaskLoss loss(const at::Tensor& soft, const PromptBatch& batch,
                std::span<const std::int64_t> rows) const;

 private:
  double weight_, label_smoothing_;
  WordTargets targets_;
};

}  // namespace blip2

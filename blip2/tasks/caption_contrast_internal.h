#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "blip2/data/batch.h"
#include "blip2/model/bridge.h"
#include "blip2/processes/ranks.h"
#include "blip2/recipe/recipe.h"
#include "blip2/tasks/task.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

// Image-text contrast beside a stage-2 objective, on the captions of each batch. It keeps the
// queries as discriminative as stage 1 left them while they learn to prompt the language model.
class CaptionContrast {
 public:
  // `records`: the training data; records with questions are left out. `qformer`: the Q-Former's
  // tokenizer. Error if there is no caption.
  CaptionContrast(const Recipe& recipe, std::shared_ptr<const Bridge> bridge,
                  std::span<const Record> records, const Tokenizer& qformer);

  // The weighted loss of the items that have captions, with meters. `features`: of
  // all items. With ranks each process contrasts its own rows, and all rows of a step have the
  // same weight.
  TaskLoss loss(std::span<const std::int64_t> items, const ImageFeatures& features,
                const ComputeOptions& compute, std::int64_t step, const Ranks* ranks) const;

 private:
  Recipe recipe_;
  std::shared_ptr<const Bridge> bridge_;
  std::vector<std::int64_t> caption_of_;  // a record's item in captions_; -1: it is a question
  std::optional<CaptionData> captions_;
};

}  // namespace blip2

#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "blip2/data/batch.h"
#include "blip2/model/bridge.h"
#include "blip2/nn/ranks.h"
#include "blip2/text/tokenizer.h"
#include "blip2/training/caption_contrast.h"
#include "blip2/training/dataset.h"
#include "blip2/training/recipe.h"
#include "blip2/training/task.h"

namespace blip2 {

// The two tokenizers of a model that speaks: the language model's, and the Q-Former's for prompts
// that it reads.
struct StageTokenizers {
  const Tokenizer &language, &qformer;
};

// A batch of stage 2: its pictures' features [B, P, De], and what the bridge makes of them: soft
// prompts [B, Q, width].
struct SpokenBatch {
  PromptBatch prompts;
  at::Tensor features, soft;
};

// The data of stage 2, as its tasks share it whatever language model they train with.
class SpokenData {
 public:
  // The streams of a step's randomness: texts and views; dropout.
  struct Streams {
    std::uint64_t data, dropout;
  };

  // `format` but for its limits, which are the recipe's. `train` must not be empty; `validation`
  // may be. `ranks`: the processes that share each batch; nullptr: none but this.
  SpokenData(const Recipe& recipe, std::shared_ptr<const Bridge> bridge,
             const StageTokenizers& tokenizers, PromptFormat format, Dataset train,
             Dataset validation, const Ranks* ranks, Streams streams);

  const Dataset& train() const { return train_; }
  const Dataset& validation() const { return validation_; }
  const PromptData& prompts() const { return *prompts_; }
  const Ranks* ranks() const { return ranks_; }

  // As TrainingTask::read_ahead.
  void read_ahead(std::span<const std::int64_t> items, std::int64_t step) const;
  // The items of a step's part, as TrainingTask::train has them.
  SpokenBatch batch(std::span<const std::int64_t> items, std::int64_t step,
                    std::int64_t part) const;
  // The place of the batch's first row in that of all processes.
  std::int64_t first_row(const SpokenBatch& batch) const;
  // Adds contrast on the batch's captions to a step's loss, if the recipe asks for it.
  void add_contrast(TaskLoss& total, const SpokenBatch& batch, std::span<const std::int64_t> items,
                    std::int64_t step, std::int64_t part) const;

  // mean_loss over the validation data; empty if there are none.
  using LossOf = std::function<TaskLoss(const SpokenBatch&, std::span<const std::int64_t> items)>;
  MeanMeters validate(const LossOf& loss_of) const;

 private:
  std::uint64_t data_seed() const;
  ComputeOptions compute(std::int64_t step, std::int64_t part) const;

  Recipe recipe_;
  std::shared_ptr<const Bridge> bridge_;
  Dataset train_, validation_;
  std::optional<PromptData> prompts_, held_out_;
  std::optional<CaptionContrast> contrast_;
  const Ranks* ranks_;
  Streams streams_;
};

}  // namespace blip2

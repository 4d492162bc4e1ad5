#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blip2/model/bridge.h"
#include "blip2/optimiser/adamw.h"
#include "blip2/processes/ranks.h"
#include "blip2/recipe/recipe.h"
#include "blip2/tasks/dataset.h"
#include "blip2/tasks/meters.h"

namespace blip2 {

// A loss and what the log shows of it. With several processes the loss is this one's share: the sum
// over all is the loss of the whole batch.
struct TaskLoss {
  at::Tensor loss;  // []; undefined: nothing yet
  Meters meters;

  void add(const TaskLoss& other);
};

// Items of a data set, which know their texts, with the features of their pictures.
struct TaskBatch {
  std::span<const std::int64_t> items;
  at::Tensor features;  // [B, P, De] in storage type
};

// What a stage of pre-training trains.
class TrainingTask {
 public:
  virtual ~TrainingTask() = default;
  // The seed by which a step chooses among the texts and views of its items.
  virtual std::uint64_t data_seed() const = 0;
  // The loss of a batch of the training data in a step, or in its part of that number if it is
  // computed in parts: a function of the batch, the weights, the recipe's seed, step and part.
  virtual TaskLoss train(const TaskBatch& batch, std::int64_t step, std::int64_t part) = 0;
  // The loss of a batch of the validation data, without dropout.
  virtual TaskLoss validate(const TaskBatch& batch) = 0;
};

// Samples that a process computes at a time: its share of a batch, in the recipe's parts. Error if
// they do not come out even.
std::int64_t samples_at_once(const Recipe& recipe, std::int64_t processes);

// The seed of a part of a step.
std::uint64_t part_seed(std::uint64_t seed, std::uint64_t stream, std::int64_t step,
                        std::int64_t part);

// The mean loss on validation data, in batches as large as a part of a step, of plain pictures and
// without gradients; empty if there are no data. Of several processes, on this one's part of the
// batches.
MeanMeters validation_loss(TrainingTask& task, const Dataset& data, const Recipe& recipe,
                           const Ranks* ranks);

// The bridge's trained tensors in the directory's names; the others are frozen.
std::vector<NamedTensor> trained_tensors(const Bridge& bridge, const Recipe& recipe);

}  // namespace blip2

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

// A loss and its figures for the log. With several processes the loss is this process's share: the
// sum over all processes is the loss of the whole batch.
struct TaskLoss {
  at::Tensor loss;  // []; undefined before the first add()
  Meters meters;

  void add(const TaskLoss& other);
};

// A mini-batch: items of a data set with the features of their pictures. The task knows the items'
// texts.
struct TaskBatch {
  std::span<const std::int64_t> items;
  ImageFeatures features;  // in storage type
};

// The training of one stage. For one thread at a time.
class TrainingTask {
 public:
  virtual ~TrainingTask() = default;
  // The seed by which a step chooses among the texts and views of its items.
  virtual std::uint64_t data_seed() const = 0;
  // The loss of a batch of the training data in a step or, if the step is computed in parts, in
  // part number `part`. It is a function of the batch, the weights, the recipe's seed, step and
  // part.
  virtual TaskLoss train(const TaskBatch& batch, std::int64_t step, std::int64_t part) = 0;
  // The loss of a batch of the validation data, without dropout.
  virtual TaskLoss validate(const TaskBatch& batch) = 0;
};

// The number of samples that a process computes at a time: its share of a batch, divided into the
// recipe's parts. Error if they do not divide evenly.
std::int64_t samples_at_once(const Recipe& recipe, std::int64_t processes);

// The seed of a part of a step.
std::uint64_t part_seed(std::uint64_t seed, std::uint64_t stream, std::int64_t step,
                        std::int64_t part);

// The mean loss on validation data, in batches as large as a part of a step, with plain pictures
// and without gradients; empty if there are no data. With several processes it is the mean over
// this process's batches.
MeanMeters validation_loss(TrainingTask& task, const Dataset& data, const Recipe& recipe,
                           const Ranks* ranks);

// The bridge's trained tensors under their names in a model directory; all other tensors are
// frozen.
std::vector<NamedTensor> trained_tensors(const Bridge& bridge, const Recipe& recipe);

}  // namespace blip2

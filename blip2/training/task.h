#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blip2/model/bridge.h"
#include "blip2/nn/ranks.h"
#include "blip2/training/adamw.h"
#include "blip2/training/dataset.h"
#include "blip2/training/meters.h"
#include "blip2/training/recipe.h"

namespace blip2 {

// A loss and what the log shows of it. With several processes the loss is this one's share: the sum
// over all is the loss of the whole batch.
struct TaskLoss {
  at::Tensor loss;  // []; undefined: nothing yet
  Meters meters;

  void add(const TaskLoss& other);
};

// What a stage of pre-training trains, and on what.
class TrainingTask {
 public:
  virtual ~TrainingTask() = default;
  // Items of the training data, as a Sampler numbers them, and what it may arrange them by.
  virtual const Dataset& data() const = 0;
  virtual SamplerOptions sampling() const = 0;
  // Has what a coming step will read of the items' pictures brought from the disk meanwhile.
  virtual void read_ahead(std::span<const std::int64_t> items, std::int64_t step) const = 0;
  // The loss of the items of a training step, or of its part of that number if it is computed in
  // parts: a function of the weights, the recipe's seed, the step and the part.
  virtual TaskLoss train(std::span<const std::int64_t> items, std::int64_t step,
                         std::int64_t part) = 0;
  // The mean loss on the validation data, without dropout and augmentation; empty if there are
  // none. With several processes, on this one's part of the batches.
  virtual MeanMeters validate() = 0;
};

// The number type that the recipe asks for on this machine: bf16 or f32.
at::ScalarType compute_type(const Recipe& recipe);

// Samples that a process computes at a time: its share of a batch, in the recipe's parts. Error if
// they do not come out even.
std::int64_t samples_at_once(const Recipe& recipe, std::int64_t processes);

// The seed of a part of a step.
std::uint64_t part_seed(std::uint64_t seed, std::uint64_t stream, std::int64_t step,
                        std::int64_t part);

// The mean of what `loss_of` gives for batches of items 0 … count - 1 in order, without gradients;
// of several processes, of the batches whose turn is this one's.
MeanMeters mean_loss(std::int64_t count, std::int64_t batch_size, const Ranks* ranks,
                     const std::function<TaskLoss(std::span<const std::int64_t>)>& loss_of);

// The bridge's trained tensors in the directory's names; the others are frozen.
std::vector<NamedTensor> trained_tensors(const Bridge& bridge, const Recipe& recipe);

}  // namespace blip2

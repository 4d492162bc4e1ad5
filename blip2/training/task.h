#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "blip2/model/bridge.h"
#include "blip2/training/adamw.h"
#include "blip2/training/dataset.h"
#include "blip2/training/recipe.h"

namespace blip2 {

// What the log shows of a loss, in order.
using Meters = std::vector<std::pair<std::string, double>>;

struct TaskLoss {
  at::Tensor loss;  // []
  Meters meters;
};

// What a stage of pre-training trains, and on what.
class TrainingTask {
 public:
  virtual ~TrainingTask() = default;
  // Items of the training data, as a Sampler numbers them, and what it may arrange them by.
  virtual const Dataset& data() const = 0;
  virtual SamplerOptions sampling() const = 0;
  // The loss of a training step: a function of the weights, the recipe's seed, and the step.
  virtual TaskLoss train(std::span<const std::int64_t> items, std::int64_t step) = 0;
  // The mean loss on the validation data, without dropout and augmentation; undefined if none.
  virtual TaskLoss validate() = 0;
};

// The number type that the recipe asks for on this machine: bf16 or f32.
at::ScalarType compute_type(const Recipe& recipe);

// The bridge's trained tensors in the directory's names; the others are frozen.
std::vector<NamedTensor> trained_tensors(const Bridge& bridge, const Recipe& recipe);

}  // namespace blip2

#pragma once

#include "blip2/training/task.h"

namespace blip2 {

// The weighted mean of several losses and of their meters, which must be the same ones.
class MeanMeters {
 public:
  void add(const TaskLoss& loss, double weight) {
    sum_.loss = sum_.loss.defined() ? sum_.loss + weight * loss.loss : weight * loss.loss;
    if (sum_.meters.empty()) {
      for (const auto& [name, value] : loss.meters) sum_.meters.emplace_back(name, 0.0);
    }
    for (std::size_t i = 0; i < loss.meters.size(); ++i) {
      sum_.meters[i].second += weight * loss.meters[i].second;
    }
    weight_ += weight;
  }

  // Undefined if nothing was added.
  TaskLoss result() const {
    TaskLoss mean = sum_;
    if (weight_ == 0) return mean;
    mean.loss = mean.loss / weight_;
    for (auto& [name, value] : mean.meters) value /= weight_;
    return mean;
  }

 private:
  TaskLoss sum_;
  double weight_ = 0;
};

}  // namespace blip2

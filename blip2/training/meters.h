#pragma once

#include "blip2/training/task.h"

namespace blip2 {

// The weighted mean of several losses; of each meter, over the losses that have it.
class MeanMeters {
 public:
  void add(const TaskLoss& loss, double weight) {
    loss_ = loss_.defined() ? loss_ + weight * loss.loss : weight * loss.loss;
    weight_ += weight;
    for (const auto& [name, value] : loss.meters) {
      Sum& sum = find(name);
      sum.value += weight * value;
      sum.weight += weight;
    }
  }

  // Undefined if nothing was added.
  TaskLoss result() const {
    if (weight_ == 0) return {};
    TaskLoss mean{loss_ / weight_, {}};
    for (const Sum& sum : sums_) mean.meters.emplace_back(sum.name, sum.value / sum.weight);
    return mean;
  }

 private:
  struct Sum {
    std::string name;
    double value = 0, weight = 0;
  };

  Sum& find(const std::string& name) {
    for (Sum& sum : sums_) {
      if (sum.name == name) return sum;
    }
    return sums_.emplace_back(Sum{name});
  }

  at::Tensor loss_;
  double weight_ = 0;
  std::vector<Sum> sums_;
};

}  // namespace blip2

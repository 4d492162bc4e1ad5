#pragma once

#include <string>
#include <utility>
#include <vector>

namespace blip2 {

class Ranks;

// What the log shows of a loss: a mean and how much it counts beside those of other batches.
struct Meter {
  std::string name;
  double value = 0, weight = 1;
};
using Meters = std::vector<Meter>;

// The weighted mean of several losses, and of each meter over the losses that have it.
class MeanMeters {
 public:
  void add(double loss, const Meters& meters, double weight = 1);

  bool empty() const { return weight_ == 0; }
  double loss() const { return loss_ / weight_; }
  // In the order in which they came.
  std::vector<std::pair<std::string, double>> means() const;

  // Takes the means over all processes. True if `flag` is true on one of them.
  bool exchange(const Ranks& ranks, bool flag);

 private:
  struct Sum {
    std::string name;
    double value = 0, weight = 0;
  };
  Sum& find(const std::string& name);

  double loss_ = 0, weight_ = 0;
  std::vector<Sum> sums_;
};

}  // namespace blip2

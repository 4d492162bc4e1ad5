#pragma once

#include <string>
#include <utility>
#include <vector>

namespace blip2 {

class Ranks;

// A figure in the log: a mean over a batch, and its weight among the means of other batches.
struct Meter {
  std::string name;
  double value = 0, weight = 1;
};
using Meters = std::vector<Meter>;

// Weighted means of losses, and of each meter over the batches that have it.
class MeanMeters {
 public:
  void add(double loss, const Meters& meters, double weight = 1);

  bool empty() const { return weight_ == 0; }
  double loss() const { return loss_ / weight_; }
  // The means by name, in the order in which the meters came first.
  std::vector<std::pair<std::string, double>> means() const;

  // Makes the means those over all processes. Returns whether `flag` is true on any process.
  // Collective.
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

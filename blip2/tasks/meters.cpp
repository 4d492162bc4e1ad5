#include "blip2/tasks/meters.h"

#include <nlohmann/json.hpp>

#include "blip2/processes/ranks.h"

namespace blip2 {

void MeanMeters::add(double loss, const Meters& meters, double weight) {
  loss_ += weight * loss;
  weight_ += weight;
  for (const Meter& meter : meters) {
    Sum& sum = find(meter.name);
    sum.value += weight * meter.weight * meter.value;
    sum.weight += weight * meter.weight;
  }
}

std::vector<std::pair<std::string, double>> MeanMeters::means() const {
  std::vector<std::pair<std::string, double>> means;
  for (const Sum& sum : sums_) {
    if (sum.weight > 0) means.emplace_back(sum.name, sum.value / sum.weight);
  }
  return means;
}

bool MeanMeters::exchange(const Ranks& ranks, bool flag) {
  using nlohmann::json;
  json own{flag, loss_, weight_};
  for (const Sum& sum : sums_) own.push_back({sum.name, sum.value, sum.weight});
  // CBOR keeps every number as it is, infinite ones too.
  const auto bytes = json::to_cbor(own);
  *this = {};
  flag = false;
  for (const std::string& text : ranks.all_gather_text({bytes.begin(), bytes.end()})) {
    const json told = json::from_cbor(text);
    flag = flag || told[0].get<bool>();
    loss_ += told[1].get<double>();
    weight_ += told[2].get<double>();
    for (std::size_t i = 3; i < told.size(); ++i) {
      Sum& sum = find(told[i][0].get<std::string>());
      sum.value += told[i][1].get<double>();
      sum.weight += told[i][2].get<double>();
    }
  }
  return flag;
}

MeanMeters::Sum& MeanMeters::find(const std::string& name) {
  for (Sum& sum : sums_) {
    if (sum.name == name) return sum;
  }
  return sums_.emplace_back(Sum{name});
}

}  // namespace blip2

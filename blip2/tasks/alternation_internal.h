#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

namespace blip2 {

// The index of the objective that a step trains when objectives alternate. Objectives are chosen in
// proportion to their weights, spread evenly over any stretch of steps; a weight of 0 is never
// chosen. The choice is a function of the step, so a resumed run continues it: steps go round a
// circle by the golden ratio, and each objective has an arc of the circle. At least one weight must
// be above 0.
inline std::size_t scheduled(std::span<const double> weights, std::int64_t step) {
  constexpr double kGolden = 0.61803398874989485;
  double total = 0, whole = 0;
  for (const double weight : weights) total += weight;
  double left = std::modf(0.5 + static_cast<double>(step) * kGolden, &whole) * total;
  std::size_t chosen = weights.size();
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] <= 0) continue;
    chosen = i;
    left -= weights[i];
    if (left < 0) break;
  }
  return chosen;
}

// The weights of a step: `weights`, or with `alternate` 1 for the step's objective and 0 for all
// others.
template <typename Weights>
Weights step_weights(const Weights& weights, bool alternate, std::int64_t step) {
  if (!alternate) return weights;
  const std::size_t chosen = scheduled(weights, step);
  Weights one = weights;
  for (std::size_t i = 0; i < one.size(); ++i) one[i] = i == chosen ? 1 : 0;
  return one;
}

}  // namespace blip2

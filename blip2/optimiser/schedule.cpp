#include "blip2/optimiser/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace blip2 {

double learning_rate(const Recipe& recipe, std::int64_t step) {
  const double peak = recipe.optimizer.lr, low = recipe.schedule.min_lr;
  const std::int64_t warmup = recipe.schedule.warmup_steps;
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  const auto span = std::max<std::int64_t>(recipe.steps - 1 - warmup, 1);
  const double share =
      std::min(static_cast<double>(step - warmup) / static_cast<double>(span), 1.0);
  return low + (peak - low) * 0.5 * (1 + std::cos(std::numbers::pi * share));
}

}  // namespace blip2

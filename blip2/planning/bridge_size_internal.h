#pragma once

#include <cstdint>

#include "blip2/model/config.h"
#include "blip2/recipe/recipe.h"

namespace blip2 {

// The number of parameters in a part of the bridge: trained ones, which a gradient reaches with
// this recipe, and frozen ones.
struct TrainedPart {
  std::int64_t trained = 0, frozen = 0;
};
struct BridgeSize {
  TrainedPart queries, qformer, norm, heads, projection;
  std::int64_t reached() const {
    return queries.trained + qformer.trained + norm.trained + heads.trained + projection.trained;
  }
  std::int64_t all() const {
    return reached() + queries.frozen + qformer.frozen + norm.frozen + heads.frozen +
           projection.frozen;
  }
  std::int64_t in_optimizer = 0;  // parameters that have moments, with or without a gradient
};
BridgeSize bridge_size(const Blip2Config& config, const Recipe& recipe);

}  // namespace blip2

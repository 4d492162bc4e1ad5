#include "blip2/evaluation/clip_score.h"

#include <algorithm>

namespace blip2 {

ClipScore clip_score(double picture, std::span<const double> references) {
  const double score = kClipWeight * std::max(picture, 0.0);
  double nearest = 0;
  for (const double reference : references) nearest = std::max(nearest, reference);
  const double sum = score + nearest;
  return {score, sum > 0 ? 2 * score * nearest / sum : 0};
}

}  // namespace blip2

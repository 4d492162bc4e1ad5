#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "blip2/search/codes.h"

namespace blip2 {

// Unit vectors [count, Q, E] whose numbers vary less and less from the first to the last.
inline std::vector<float> random_vectors(VectorShape shape, std::size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  const auto width = static_cast<std::size_t>(shape.width);
  std::vector<float> vectors(count * static_cast<std::size_t>(shape.queries) * width);
  for (std::size_t at = 0; at < vectors.size(); at += width) {
    double sum = 0;
    for (std::size_t d = 0; d < width; ++d) {
      vectors[at + d] = normal(generator) / (1 + 0.2f * static_cast<float>(d));
      sum += double{vectors[at + d]} * vectors[at + d];
    }
    for (std::size_t d = 0; d < width; ++d) vectors[at + d] /= static_cast<float>(std::sqrt(sum));
  }
  return vectors;
}

}  // namespace blip2

#include "blip2/search/mean_vector.h"

#include <cmath>
#include <cstddef>

namespace blip2 {

std::vector<float> mean_vector(std::span<const float> vectors, std::int64_t width) {
  const auto e = static_cast<std::size_t>(width);
  std::vector<double> sum(e);
  for (std::size_t i = 0; i < vectors.size(); ++i) sum[i % e] += vectors[i];
  double square = 0;
  for (const double x : sum) square += x * x;
  const double scale = square > 0 ? 1 / std::sqrt(square) : 0;
  std::vector<float> mean;
  for (const double x : sum) mean.push_back(static_cast<float>(x * scale));
  return mean;
}

}  // namespace blip2

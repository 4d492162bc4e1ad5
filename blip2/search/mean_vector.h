#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace blip2 {

// The mean of vectors [n, E] at length 1 [E]; zeros if they cancel out. Indexes that keep one
// vector a picture can name candidates by it.
std::vector<float> mean_vector(std::span<const float> vectors, std::int64_t width);

}  // namespace blip2

#pragma once

#include <cstdint>
#include <vector>

namespace blip2 {

// Cosines and sines of the rotary angles position / theta^(2 i / head_dim), computed in f32 as
// transformers does.
class RopeTable {
 public:
  RopeTable(std::int64_t head_dim, double theta) : half_(head_dim / 2), theta_(theta) {}

  // Makes positions [0, count) available.
  void reserve(std::int64_t count);
  const float* cos(std::int64_t position) const { return cos_.data() + position * half_; }
  const float* sin(std::int64_t position) const { return sin_.data() + position * half_; }

 private:
  std::int64_t half_, count_ = 0;
  double theta_;
  std::vector<float> cos_, sin_;
};

}  // namespace blip2

#pragma once
// Dropout by a counter: whether an element of a row is kept depends on the seed, the row and the
// element's index alone; included by the kernels_*.cpp only.
#include "blip2/nn/kernels/vec_internal.h"

namespace blip2 {
namespace {

class DropoutRow {
 public:
  // `p` in [0, 1): the share of elements that become 0.
  BLIP2_INLINE DropoutRow(std::uint64_t seed, Int row, float p)
      : seed_(static_cast<std::uint32_t>(derive_seed(seed, row))),
        limit_(static_cast<std::uint32_t>(static_cast<double>(p) * 4294967296.0)),
        gain_(1.0f / (1.0f - p)) {}

  // The factors 0 or 1 / (1 - p) of the elements from `index` on.
  BLIP2_INLINE Vec factors(Int index) const {
    const VecBits counters =
        reinterpret<VecBits>(lane_numbers()) + static_cast<std::uint32_t>(index);
    VecBits x = seed_ ^ (counters * 0x9e3779b9u);
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    x ^= x >> 16;
    return x < limit_ ? Vec{} : splat(gain_);
  }

 private:
  std::uint32_t seed_, limit_;
  float gain_;
};

}  // namespace
}  // namespace blip2

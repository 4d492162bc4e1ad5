#pragma once
// Blocks of a group taken apart; included by the kernels_*.cpp only.
#include "blip2/nn/kernels/block_formats_internal.h"

namespace blip2 {
namespace {

// Of each out the codes less their zero, quad after quad, the scales of both halves and the
// minimum.
struct alignas(kLineBytes) OpenBlock {
  std::int8_t codes[8][kLineBytes];
  float scale[2][kGroupOuts], minimum[kGroupOuts];
};

// Block i of those that share `scales`.
template <typename F>
BLIP2_INLINE void open_block(const std::uint8_t* lines, const std::uint8_t* scales, Int i,
                             OpenBlock& open) {
  constexpr auto zero = static_cast<std::uint8_t>(F::code_bits == 8 ? 128 : F::zero);
  for (Int out = 0; out < kGroupOuts; out += lanes) {
    const auto step = [&]<int j>() __attribute__((always_inline)) {
      const TwoQuads quads = quads_at<F, j>(lines + 4 * out);
      const VecBytes first = quads.first - zero, second = quads.second - zero;
      std::memcpy(open.codes[j] + 4 * out, &first, sizeof(first));
      std::memcpy(open.codes[j + 4] + 4 * out, &second, sizeof(second));
    };
    step.template operator()<0>();
    step.template operator()<1>();
    step.template operator()<2>();
    step.template operator()<3>();
    const BlockScales s = scales_at<F>(scales, i, out);
    store(open.scale[0] + out, s.scale);
    store(open.scale[1] + out, F::halved ? s.second : s.scale);
    store(open.minimum + out, s.minimum);
  }
}

}  // namespace
}  // namespace blip2

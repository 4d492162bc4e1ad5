#pragma once
// Matrices in blocks widened, and the table of one instruction set; included by the kernels_*.cpp
// only, behind what the set has of its own.
#include "blip2/nn/kernels/block_kernels_internal.h"
#include "blip2/nn/kernels/block_products_internal.h"
#include "blip2/nn/kernels/block_rows_internal.h"

namespace blip2 {
namespace {
// A block of a group taken apart: of each out its codes, scales and minimum.
struct OpenBlock {
  std::uint8_t codes[8][kLineBytes];
  float scale[2][kGroupOuts], minimum[kGroupOuts];
};

template <typename F>
BLIP2_INLINE void open_block(const std::uint8_t* lines, const std::uint8_t* scales, Int i,
                             OpenBlock& open) {
  for (Int out = 0; out < kGroupOuts; out += lanes) {
    const auto step = [&]<int j>() __attribute__((always_inline)) {
      const TwoQuads quads = quads_at<F, j>(lines + 4 * out);
      std::memcpy(open.codes[j] + 4 * out, &quads.first, sizeof(VecBytes));
      std::memcpy(open.codes[j + 4] + 4 * out, &quads.second, sizeof(VecBytes));
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

// The 32 elements of one out.
template <typename T>
BLIP2_INLINE void widen_block(const OpenBlock& open, int zero, Int out, T* y) {
  std::uint8_t codes[kBlockWidth];
  for (int t = 0; t < 8; ++t) std::memcpy(codes + 4 * t, open.codes[t] + 4 * out, 4);
  float values[kBlockWidth];
  for (int e = 0; e < kBlockWidth; ++e) {
    values[e] = static_cast<float>(static_cast<int>(codes[e]) - zero) * open.scale[e / 16][out] +
                open.minimum[out];
  }
  for (Int e = 0; e < kBlockWidth; e += lanes) store(y + e, load(values + e));
}

template <typename F, typename T>
void widen_outs(const BlockMatrixView& weight, Int begin, Int end, T* y) {
  constexpr int zero = F::code_bits == 8 ? 128 : F::zero;
  const Int blocks = weight.width / kBlockWidth, bytes = group_bytes(weight.type, weight.width);
  for (Int out = begin; out < end;) {
    const Int group = out / kGroupOuts, next = (group + 1) * kGroupOuts;
    const Int last = end < next ? end : next;
    const auto* lines = reinterpret_cast<const std::uint8_t*>(weight.packed) + group * bytes;
    const std::uint8_t* scales = lines + blocks * F::line_bytes;
    for (Int block = 0; block < blocks; ++block, lines += F::line_bytes) {
      OpenBlock open;
      open_block<F>(lines, scales + block / F::blocks * F::scale_bytes, block % F::blocks, open);
      for (Int o = out; o < last; ++o) {
        widen_block(open, zero, o % kGroupOuts,
                    y + (o - begin) * weight.width + block * kBlockWidth);
      }
    }
    out = last;
  }
}

template <typename T>
void widen_blocks(const BlockMatrixView& weight, Int begin, Int end, T* y) {
  with_format(weight.type, [&]<typename F>(F) { widen_outs<F>(weight, begin, end, y); });
}

template <typename T>
constexpr BlockKernels<T> block_table = {
    .quantise = quantise_rows<T>, .multiply = multiply_blocks<T>, .widen = widen_blocks<T>};

}  // namespace
}  // namespace blip2

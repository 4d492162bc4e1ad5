#pragma once
// Matrices in blocks widened, and the table of one instruction set; included by the kernels_*.cpp
// only, behind what the set has of its own.
#include "blip2/nn/kernels/block_kernels_internal.h"
#include "blip2/nn/kernels/block_products_internal.h"
#include "blip2/nn/kernels/block_rows_internal.h"
#include "blip2/nn/kernels/open_block_internal.h"

namespace blip2 {
namespace {

// The 32 elements of one out.
template <typename T>
BLIP2_INLINE void widen_block(const OpenBlock& open, Int out, T* y) {
  std::int8_t codes[kBlockWidth];
  for (int t = 0; t < 8; ++t) std::memcpy(codes + 4 * t, open.codes[t] + 4 * out, 4);
  float values[kBlockWidth];
  for (int e = 0; e < kBlockWidth; ++e) {
    values[e] = static_cast<float>(codes[e]) * open.scale[e / 16][out] + open.minimum[out];
  }
  for (Int e = 0; e < kBlockWidth; e += lanes) store(y + e, load(values + e));
}

template <typename F, typename T>
void widen_outs(const BlockMatrixView& weight, Int begin, Int end, T* y) {
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
        widen_block(open, o % kGroupOuts, y + (o - begin) * weight.width + block * kBlockWidth);
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

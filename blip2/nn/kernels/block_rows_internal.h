#pragma once
// Rows of activations in eight bits; included by block_table_internal.h only.
#include "blip2/nn/kernels/block_layout.h"
#include "blip2/nn/kernels/vec_sums_internal.h"

namespace blip2 {
namespace {

BLIP2_INLINE VecBits larger(VecBits a, VecBits b) {
  return a > b ? a : b;
}

#ifndef BLIP2_OWN_REDUCTIONS
BLIP2_INLINE std::uint32_t largest(VecBits v) {
  return joined(
      v, [](VecBits a, VecBits b) __attribute__((always_inline)) { return larger(a, b); })[0];
}

BLIP2_INLINE std::int32_t sum_of(VecInt v) {
  return joined(
      v, [](VecInt a, VecInt b) __attribute__((always_inline)) { return VecInt(a + b); })[0];
}

BLIP2_INLINE VecQuantised narrow_to_bytes(VecInt q) {
  return __builtin_convertvector(q, VecQuantised);
}
#endif

// The largest magnitude is found by its bits, among which one that is not finite is the largest.
template <typename T>
BLIP2_INLINE void quantise_block(const T* x, ActivationBlock& y) {
  constexpr Int count = kBlockWidth / lanes;
  Vec values[count];
  VecBits most = {};
  for (Int i = 0; i < count; ++i) {
    values[i] = load(x + i * lanes);
    most = larger(most, reinterpret<VecBits>(values[i]) & 0x7fffffffu);
  }
  const std::uint32_t bits = largest(most);
  constexpr std::uint32_t infinite = 0x7f800000u, tiny = 0x05000000u;  // 1 / tiny is finite
  float magnitude;
  std::memcpy(&magnitude, &bits, sizeof(magnitude));
  const bool counts = bits >= tiny && bits < infinite;
  const float inverse = counts ? 127.0f / magnitude : 0.0f;
  float scaled[kBlockWidth];
  for (Int i = 0; i < count; ++i) store(scaled + i * lanes, counts ? values[i] * inverse : Vec{});
  asm("" : "+m"(scaled));  // rounded by itself, whether products are fused with sums or not
  VecInt sums[2] = {};
  for (Int i = 0; i < count; ++i) {
    // Adding 3 * 2^22 leaves the nearest whole number, to even, in the low bits.
    const VecInt q = reinterpret<VecInt>(load(scaled + i * lanes) + 12582912.0f) - 0x4b400000;
    const VecQuantised narrow = narrow_to_bytes(q);
    std::memcpy(y.q + i * lanes, &narrow, sizeof(narrow));
    sums[i * lanes / 16] += q;
  }
  const std::int32_t first = sum_of(sums[0]), second = sum_of(sums[1]), sum = first + second;
  y.scale = counts ? magnitude / 127.0f : bits < infinite ? 0.0f : __builtin_nanf("");
  y.sum = static_cast<float>(sum) * y.scale;
  y.minus8 = -8 * sum;
  y.minus16 = -16 * sum;
  y.minus128 = -128 * sum;
  y.minus32[0] = -32 * first;
  y.minus32[1] = -32 * second;
  y.reserved = 0;
}

template <typename T>
void quantise_rows(const T* x, Int rows, Int width, Int begin, Int end, ActivationBlock* y) {
  const Int blocks = width / kBlockWidth;
  Int row = begin / blocks, block = begin % blocks;
  for (Int i = begin; i < end; ++i) {
    quantise_block(x + i * kBlockWidth, y[activation_index(row, rows, block, blocks)]);
    if (++block < blocks) continue;
    block = 0;
    ++row;
  }
}

}  // namespace
}  // namespace blip2

#pragma once
// Rows of activations in eight bits; included by block_table_internal.h only.
#include "blip2/nn/kernels/block_layout.h"
#include "blip2/nn/kernels/vec_internal.h"

namespace blip2 {
namespace {

BLIP2_INLINE VecBits larger(VecBits a, VecBits b) {
  return a > b ? a : b;
}

#ifndef BLIP2_OWN_REDUCTIONS
BLIP2_INLINE std::uint32_t largest(VecBits v) {
  std::uint32_t x[lanes];
  std::memcpy(x, &v, sizeof(x));
  for (Int half = lanes / 2; half > 0; half /= 2) {
    for (Int i = 0; i < half; ++i) x[i] = x[i] > x[i + half] ? x[i] : x[i + half];
  }
  return x[0];
}

BLIP2_INLINE std::int32_t sum_of(VecInt v) {
  std::int32_t x[lanes];
  std::memcpy(x, &v, sizeof(x));
  for (Int half = lanes / 2; half > 0; half /= 2) {
    for (Int i = 0; i < half; ++i) x[i] += x[i + half];
  }
  return x[0];
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
  for (Int row = begin; row < end; ++row) {
    for (Int block = 0; block < blocks; ++block) {
      quantise_block(x + row * width + block * kBlockWidth,
                     y[activation_index(row, rows, block, blocks)]);
    }
  }
}

}  // namespace
}  // namespace blip2

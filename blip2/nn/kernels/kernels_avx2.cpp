// The kernels for AVX2 with FMA.
#include "blip2/nn/kernels/tables.h"

#if defined(__x86_64__)
#include <cmath>
#include <cstdint>
#include <cstring>

#include "blip2/nn/kernels/kernels.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,bmi2")
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

#define BLIP2_LANES 8
#define BLIP2_TILE_ROWS 2  // 8 sums, 4 weights and 1 activation in 16 registers
#include "blip2/nn/kernels/table.h"

namespace blip2 {
const Kernels<float>& avx2_f32() {
  return table<float>;
}
const Kernels<Bf16>& avx2_bf16() {
  return table<Bf16>;
}
}  // namespace blip2

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif

// The kernels for AVX2 with FMA.
#include "blip2/nn/kernels/tables.h"

#if defined(__x86_64__)
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "blip2/base/random.h"
#include "blip2/nn/kernels/kernels.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c,bmi2")
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

#include <immintrin.h>

#define BLIP2_LANES 8
#define BLIP2_TILE_ROWS 2  // 8 sums, 4 weights and 1 activation in 16 registers
#define BLIP2_OWN_F16
#include "blip2/nn/kernels/vec.h"

namespace blip2 {
namespace {

BLIP2_INLINE Vec widen_f16(VecHalf bits) {
  return reinterpret<Vec>(_mm256_cvtph_ps(reinterpret<__m128i>(bits)));
}
BLIP2_INLINE VecHalf round_to_f16(Vec x) {
  return reinterpret<VecHalf>(_mm256_cvtps_ph(reinterpret<__m256>(x), _MM_FROUND_TO_NEAREST_INT));
}

}  // namespace
}  // namespace blip2

#include "blip2/nn/kernels/table.h"

namespace blip2 {
KernelSet avx2_kernels() {
  return {"avx2", &table<float>, &table<Bf16>, &table<F16>};
}
}  // namespace blip2

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif

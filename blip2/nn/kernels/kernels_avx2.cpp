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
#define BLIP2_OWN_HALVES
#include "blip2/nn/kernels/vec.h"

namespace blip2 {
namespace {

BLIP2_INLINE VecBits widen_bits(VecHalf bits) {
  return reinterpret<VecBits>(_mm256_cvtepu16_epi32(reinterpret<__m128i>(bits)));
}
BLIP2_INLINE VecHalf narrow_bits(VecBits bits) {
  const __m256i v = reinterpret<__m256i>(bits), pairs = _mm256_packus_epi32(v, v);
  const __m256i halves = _mm256_permute4x64_epi64(pairs, 0x08);  // of each 128-bit lane one
  return reinterpret<VecHalf>(_mm256_castsi256_si128(halves));
}
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

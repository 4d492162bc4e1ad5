#pragma once
// AVX-512's registers for vec_internal.h and linear.h, with what its own instructions do better;
// included by the kernels_avx512*.cpp and kernels_amx*.cpp only, after their target is set.
#include <immintrin.h>

#define BLIP2_LANES 16
#define BLIP2_TILE_ROWS 6  // 24 sums, 4 weights and 1 activation in 32 registers
#define BLIP2_OWN_SUM4
#define BLIP2_OWN_HALVES
#include "blip2/nn/kernels/vec_internal.h"

namespace blip2 {
namespace {

BLIP2_INLINE VecBits widen_bits(VecHalf bits) {
  return reinterpret<VecBits>(_mm512_cvtepu16_epi32(reinterpret<__m256i>(bits)));
}
BLIP2_INLINE VecHalf narrow_bits(VecBits bits) {
  return reinterpret<VecHalf>(_mm512_cvtepi32_epi16(reinterpret<__m512i>(bits)));
}
BLIP2_INLINE Vec widen_f16(VecHalf bits) {
  return reinterpret<Vec>(_mm512_cvtph_ps(reinterpret<__m256i>(bits)));
}
BLIP2_INLINE VecHalf round_to_f16(Vec x) {
  return reinterpret<VecHalf>(_mm512_cvtps_ph(reinterpret<__m512>(x), _MM_FROUND_TO_NEAREST_INT));
}

// The sums of four vectors: pairs within 128-bit lanes, then across lanes; each in the same order.
BLIP2_INLINE void sum4(const Vec* v, float* sums) {
  const __m512 a = reinterpret<__m512>(v[0]), b = reinterpret<__m512>(v[1]);
  const __m512 c = reinterpret<__m512>(v[2]), d = reinterpret<__m512>(v[3]);
  const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  const __m512 low = _mm512_shuffle_ps(ab, cd, 0x44), high = _mm512_shuffle_ps(ab, cd, 0xee);
  const __m512 abcd = _mm512_add_ps(low, high);
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps(abcd, 1));
  _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}

}  // namespace
}  // namespace blip2

#pragma once
// What AVX-512 does itself for block_table_internal.h; included by the kernels_avx512*.cpp and
// kernels_amx_int8.cpp only, behind avx512_internal.h.
#define BLIP2_BLOCK_ROWS 8  // 8 or 16 whole sums, 8 scaled ones, codes, scales and masks
#define BLIP2_OWN_DOTS
#define BLIP2_OWN_BYTES
#define BLIP2_OWN_REDUCTIONS
#include "blip2/nn/kernels/block_dots_internal.h"

namespace blip2 {
namespace {

template <typename Bytes>
BLIP2_INLINE Vec bytes_at(const std::uint8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const __m512i wide = std::is_same_v<Bytes, SignedLaneBytes> ? _mm512_cvtepi8_epi32(bytes)
                                                              : _mm512_cvtepu8_epi32(bytes);
  return reinterpret<Vec>(_mm512_cvtepi32_ps(wide));
}

BLIP2_INLINE std::uint32_t largest(VecBits v) {
  return _mm512_reduce_max_epu32(reinterpret<__m512i>(v));
}
BLIP2_INLINE std::int32_t sum_of(VecInt v) {
  return _mm512_reduce_add_epi32(reinterpret<__m512i>(v));
}
BLIP2_INLINE VecQuantised narrow_to_bytes(VecInt q) {
  return reinterpret<VecQuantised>(_mm512_cvtepi32_epi8(reinterpret<__m512i>(q)));
}

BLIP2_INLINE VecBytes lookup(VecBytes codes, const std::int8_t* values) {
  const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values));
  const __m512i wide = _mm512_broadcast_i32x4(_mm_xor_si128(table, _mm_set1_epi8(-128)));
  return reinterpret<VecBytes>(_mm512_shuffle_epi8(wide, reinterpret<__m512i>(codes)));
}

}  // namespace
}  // namespace blip2

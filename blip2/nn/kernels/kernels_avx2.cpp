// The kernels for AVX2 with FMA.
#include "blip2/nn/kernels/tables_internal.h"

#if defined(__x86_64__)
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
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
#define BLIP2_OWN_WIDE_SUM4
#include "blip2/nn/kernels/vec_sums_internal.h"

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

// Of four vectors the sums of each 128-bit lane, in the order of avx512_internal.h's sum4.
BLIP2_INLINE __m256 lane_sums(const WideSum* v, int part) {
  __m256 x[4];
  for (int o = 0; o < 4; ++o) x[o] = reinterpret<__m256>(v[o].parts[part]);
  const __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(x[0], x[1]), _mm256_unpackhi_ps(x[0], x[1]));
  const __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(x[2], x[3]), _mm256_unpackhi_ps(x[2], x[3]));
  return _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
}

BLIP2_INLINE void sum4(const WideSum* v, float* sums) {
  const __m256 half = _mm256_add_ps(lane_sums(v, 0), lane_sums(v, 1));
  _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}

}  // namespace
}  // namespace blip2

#define BLIP2_BLOCK_ROWS 4
#define BLIP2_OWN_DOTS
#define BLIP2_OWN_BYTES
#include "blip2/nn/kernels/block_dots_internal.h"

namespace blip2 {
namespace {

template <typename Bytes>
BLIP2_INLINE Vec bytes_at(const std::uint8_t* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  const __m256i wide = std::is_same_v<Bytes, SignedLaneBytes> ? _mm256_cvtepi8_epi32(bytes)
                                                              : _mm256_cvtepu8_epi32(bytes);
  return reinterpret<Vec>(_mm256_cvtepi32_ps(wide));
}

BLIP2_INLINE VecBytes lookup(VecBytes codes, const std::int8_t* values) {
  const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values));
  const __m256i wide = _mm256_broadcastsi128_si256(_mm_xor_si128(table, _mm_set1_epi8(-128)));
  return reinterpret<VecBytes>(_mm256_shuffle_epi8(wide, reinterpret<__m256i>(codes)));
}

// Of each pair of codes without sign and of activations the sum of the products.
BLIP2_INLINE VecShorts pair_products(VecBytes codes, VecInt x) {
  return reinterpret<VecShorts>(
      _mm256_maddubs_epi16(reinterpret<__m256i>(codes), reinterpret<__m256i>(x)));
}

BLIP2_INLINE VecInt pair_sums(VecShorts pairs) {
  return reinterpret<VecInt>(_mm256_madd_epi16(reinterpret<__m256i>(pairs), _mm256_set1_epi16(1)));
}

struct SignedCodes {
  VecBytes values, magnitudes;

  explicit BLIP2_INLINE SignedCodes(VecBytes codes)
      : values(codes),
        magnitudes(reinterpret<VecBytes>(_mm256_abs_epi8(reinterpret<__m256i>(codes)))) {}
  BLIP2_INLINE VecInt sign(VecInt x) const {
    return reinterpret<VecInt>(
        _mm256_sign_epi8(reinterpret<__m256i>(x), reinterpret<__m256i>(values)));
  }
};

}  // namespace
}  // namespace blip2

#include "blip2/nn/kernels/block_pairs_internal.h"
#include "blip2/nn/kernels/block_table_internal.h"
#include "blip2/nn/kernels/table_internal.h"

namespace blip2 {
KernelSet avx2_kernels() {
  return {"avx2", &table<float>, &table<Bf16>, &table<F16>};
}

BlockKernelSet avx2_block_kernels() {
  return {"avx2", &block_table<float>, &block_table<Bf16>, &block_table<F16>};
}
}  // namespace blip2

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif

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
#include "blip2/nn/kernels/vec_internal.h"

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

#define BLIP2_BLOCK_ROWS 4
#define BLIP2_OWN_DOTS
#define BLIP2_OWN_BYTES
#include "blip2/nn/kernels/block_dots_internal.h"

namespace blip2 {
namespace {

constexpr bool kSignedBytes = true;

template <typename Bytes>
BLIP2_INLINE Vec bytes_at(const std::uint8_t* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  const __m256i wide = std::is_same_v<Bytes, SignedLaneBytes> ? _mm256_cvtepi8_epi32(bytes)
                                                              : _mm256_cvtepu8_epi32(bytes);
  return reinterpret<Vec>(_mm256_cvtepi32_ps(wide));
}

BLIP2_INLINE __m256i pairs_added(__m256i pairs) {
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

// Pairs of products fit 16 bits.
template <int kBits>
struct Dots {
  using Codes = __m256i;
  using Sum = __m256i;
  static BLIP2_INLINE Codes codes(VecBytes bytes) { return reinterpret<Codes>(bytes); }
  static BLIP2_INLINE Sum begin(std::int32_t start) { return _mm256_set1_epi32(start); }
  static BLIP2_INLINE Sum add(Sum sum, Codes codes, const std::int8_t* quad) {
    const __m256i x = reinterpret<__m256i>(splat_quad(quad));
    return _mm256_add_epi32(sum, pairs_added(_mm256_maddubs_epi16(codes, x)));
  }
  static BLIP2_INLINE VecInt total(Sum sum) { return reinterpret<VecInt>(sum); }
};

// Pairs of products of a whole block fit 16 bits: 16 * 15 * 127.
template <>
struct Dots<4> {
  using Codes = __m256i;
  struct Sum {
    __m256i pairs;
    std::int32_t start;
  };
  static BLIP2_INLINE Codes codes(VecBytes bytes) { return reinterpret<Codes>(bytes); }
  static BLIP2_INLINE Sum begin(std::int32_t start) { return {_mm256_setzero_si256(), start}; }
  static BLIP2_INLINE Sum add(Sum sum, Codes codes, const std::int8_t* quad) {
    const __m256i x = reinterpret<__m256i>(splat_quad(quad));
    return {_mm256_add_epi16(sum.pairs, _mm256_maddubs_epi16(codes, x)), sum.start};
  }
  static BLIP2_INLINE VecInt total(Sum sum) {
    return reinterpret<VecInt>(pairs_added(sum.pairs)) + sum.start;
  }
};

// The instruction takes magnitudes of codes, so activations take over their signs.
template <>
struct Dots<8> {
  struct Codes {
    __m256i values, magnitudes;
  };
  using Sum = __m256i;
  static BLIP2_INLINE Codes codes(VecBytes bytes) {
    const __m256i values = reinterpret<__m256i>(VecBytes(bytes ^ std::uint8_t{128}));
    return {values, _mm256_abs_epi8(values)};
  }
  static BLIP2_INLINE Sum begin(std::int32_t start) { return _mm256_set1_epi32(start); }
  static BLIP2_INLINE Sum add(Sum sum, Codes codes, const std::int8_t* quad) {
    const __m256i x = _mm256_sign_epi8(reinterpret<__m256i>(splat_quad(quad)), codes.values);
    return _mm256_add_epi32(sum, pairs_added(_mm256_maddubs_epi16(codes.magnitudes, x)));
  }
  static BLIP2_INLINE VecInt total(Sum sum) { return reinterpret<VecInt>(sum); }
};

}  // namespace
}  // namespace blip2

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

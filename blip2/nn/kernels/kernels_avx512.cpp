// The kernels for AVX-512 with BF16 (Zen 4, Cooper Lake, Sapphire Rapids and later).
#include "blip2/nn/kernels/tables.h"

#if defined(__x86_64__)
#include <cmath>
#include <cstdint>
#include <cstring>

#include "blip2/nn/kernels/kernels.h"

#if defined(__clang__)
#pragma clang attribute push(                                                               \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,bmi2"))), \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,bmi2")
#pragma GCC diagnostic ignored "-Wpsabi"
#pragma GCC diagnostic ignored "-Wignored-attributes"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // _mm512_undefined_ps, GCC PR 105593
#endif
#include <immintrin.h>

#define BLIP2_LANES 16
#define BLIP2_TILE_ROWS 6  // 24 sums, 4 weights and 1 activation in 32 registers
#define BLIP2_OWN_SUM4
#define BLIP2_OWN_F16
#include "blip2/nn/kernels/vec.h"

namespace blip2 {
namespace {

BLIP2_INLINE Vec widen_f16(VecHalf bits) {
  return reinterpret<Vec>(_mm512_cvtph_ps(reinterpret<__m256i>(bits)));
}
BLIP2_INLINE VecHalf round_to_f16(Vec x) {
  return reinterpret<VecHalf>(_mm512_cvtps_ph(reinterpret<__m512>(x), _MM_FROUND_TO_NEAREST_INT));
}

template <typename T>
struct Dot;

// vdpbf16ps multiplies 32 pairs and adds neighbours in f32.
template <>
struct Dot<Bf16> {
  using Operand = __m512bh;
  static constexpr Int step = 32;
  static BLIP2_INLINE Operand read(const Bf16* p) {
    return reinterpret<Operand>(_mm512_loadu_si512(p));
  }
  static BLIP2_INLINE Operand read(const Bf16* p, Int count) {
    return reinterpret<Operand>(_mm512_maskz_loadu_epi16((1u << count) - 1u, p));
  }
  static BLIP2_INLINE Vec multiply_add(Vec sum, Operand x, Operand w) {
    return reinterpret<Vec>(_mm512_dpbf16_ps(reinterpret<__m512>(sum), x, w));
  }
};

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

#include "blip2/nn/kernels/table.h"

namespace blip2 {
const Kernels<float>& avx512_f32() {
  return table<float>;
}
const Kernels<Bf16>& avx512_bf16() {
  return table<Bf16>;
}
const Kernels<F16>& avx512_f16() {
  return table<F16>;
}
}  // namespace blip2

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif

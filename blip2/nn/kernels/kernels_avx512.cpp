// The kernels for AVX-512 without its bf16 (Skylake, Cascade Lake, Ice Lake).
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
#pragma clang attribute push(                                                         \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2"))), \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2")
#pragma GCC diagnostic ignored "-Wpsabi"
#pragma GCC diagnostic ignored "-Wignored-attributes"
#pragma GCC diagnostic ignored "-Wuninitialized"  // _mm512_undefined_ps, GCC PR 105593
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include "blip2/nn/kernels/avx512_internal.h"
#include "blip2/nn/kernels/block_avx512_internal.h"

namespace blip2 {
namespace {

constexpr bool kSignedBytes = true;

BLIP2_INLINE __m512i pairs_added(__m512i pairs) {
  return _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}

// Pairs of products fit 16 bits.
template <int kBits>
struct Dots {
  using Codes = __m512i;
  using Sum = __m512i;
  static BLIP2_INLINE Codes codes(VecBytes bytes) { return reinterpret<Codes>(bytes); }
  static BLIP2_INLINE Sum begin(std::int32_t start) { return _mm512_set1_epi32(start); }
  static BLIP2_INLINE Sum add(Sum sum, Codes codes, const std::int8_t* quad) {
    const __m512i x = reinterpret<__m512i>(splat_quad(quad));
    return _mm512_add_epi32(sum, pairs_added(_mm512_maddubs_epi16(codes, x)));
  }
  static BLIP2_INLINE VecInt total(Sum sum) { return reinterpret<VecInt>(sum); }
};

// Pairs of products of a whole block fit 16 bits: 16 * 15 * 127.
template <>
struct Dots<4> {
  using Codes = __m512i;
  struct Sum {
    __m512i pairs;
    std::int32_t start;
  };
  static BLIP2_INLINE Codes codes(VecBytes bytes) { return reinterpret<Codes>(bytes); }
  static BLIP2_INLINE Sum begin(std::int32_t start) { return {_mm512_setzero_si512(), start}; }
  static BLIP2_INLINE Sum add(Sum sum, Codes codes, const std::int8_t* quad) {
    const __m512i x = reinterpret<__m512i>(splat_quad(quad));
    return {_mm512_add_epi16(sum.pairs, _mm512_maddubs_epi16(codes, x)), sum.start};
  }
  static BLIP2_INLINE VecInt total(Sum sum) {
    return reinterpret<VecInt>(pairs_added(sum.pairs)) + sum.start;
  }
};

// The instruction takes magnitudes of codes, so activations take over their signs.
template <>
struct Dots<8> {
  struct Codes {
    __m512i magnitudes;
    __mmask64 negative;
  };
  using Sum = __m512i;
  static BLIP2_INLINE Codes codes(VecBytes bytes) {
    const __m512i values = reinterpret<__m512i>(VecBytes(bytes ^ std::uint8_t{128}));
    return {_mm512_abs_epi8(values), _mm512_movepi8_mask(values)};
  }
  static BLIP2_INLINE Sum begin(std::int32_t start) { return _mm512_set1_epi32(start); }
  static BLIP2_INLINE Sum add(Sum sum, Codes codes, const std::int8_t* quad) {
    const __m512i plus = reinterpret<__m512i>(splat_quad(quad));
    const __m512i x = _mm512_mask_sub_epi8(plus, codes.negative, _mm512_setzero_si512(), plus);
    return _mm512_add_epi32(sum, pairs_added(_mm512_maddubs_epi16(codes.magnitudes, x)));
  }
  static BLIP2_INLINE VecInt total(Sum sum) { return reinterpret<VecInt>(sum); }
};

}  // namespace
}  // namespace blip2

#include "blip2/nn/kernels/block_table_internal.h"
#include "blip2/nn/kernels/table_internal.h"

namespace blip2 {
KernelSet avx512_kernels() {
  return {"avx512", &table<float>, &table<Bf16>, &table<F16>};
}

BlockKernelSet avx512_block_kernels() {
  return {"avx512", &block_table<float>, &block_table<Bf16>, &block_table<F16>};
}
}  // namespace blip2

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif

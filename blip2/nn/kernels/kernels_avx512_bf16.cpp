// The products of bf16 of AVX-512 with BF16 (Zen 4, Cooper Lake and later), those of attention over
// all rows included; everything else is AVX-512's.
#include "blip2/nn/kernels/tables_internal.h"

#if defined(__x86_64__)
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "blip2/nn/kernels/kernels.h"

#if defined(__clang__)
#pragma clang attribute push(                                                                    \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c,bmi2"))), \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c,bmi2")
#pragma GCC diagnostic ignored "-Wpsabi"
#pragma GCC diagnostic ignored "-Wignored-attributes"
#pragma GCC diagnostic ignored "-Wuninitialized"  // _mm512_undefined_ps, GCC PR 105593
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include "blip2/nn/kernels/avx512_internal.h"

namespace blip2 {
namespace {

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

template <typename T>
struct Factors;

template <>
struct Factors<Bf16> {
  using Unit = std::uint32_t;
  static constexpr Int numbers = 2;
  static BLIP2_INLINE Vec multiply_add(Vec sum, Unit left, const Unit* right) {
    return Dot<Bf16>::multiply_add(
        sum, reinterpret<__m512bh>(_mm512_set1_epi32(static_cast<std::int32_t>(left))),
        reinterpret<__m512bh>(_mm512_loadu_si512(right)));
  }
};

}  // namespace
}  // namespace blip2

#include "blip2/nn/kernels/dense_attention_internal.h"
#include "blip2/nn/kernels/linear_internal.h"

namespace blip2 {

KernelSet avx512_bf16_kernels() {
  static const Kernels<Bf16> bf16 = [] {
    Kernels<Bf16> mixed = *avx512_kernels().bf16;
    mixed.linear = linear<Bf16>;
    mixed.attend_all = attend_all<Bf16>;
    return mixed;
  }();
  return {"avx512-bf16", avx512_kernels().f32, &bf16, avx512_kernels().f16};
}

}  // namespace blip2

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif

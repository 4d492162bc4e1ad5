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

// Of each pair of codes without sign and of activations the sum of the products.
BLIP2_INLINE VecShorts pair_products(VecBytes codes, VecInt x) {
  return reinterpret<VecShorts>(
      _mm512_maddubs_epi16(reinterpret<__m512i>(codes), reinterpret<__m512i>(x)));
}

BLIP2_INLINE VecInt pair_sums(VecShorts pairs) {
  return reinterpret<VecInt>(_mm512_madd_epi16(reinterpret<__m512i>(pairs), _mm512_set1_epi16(1)));
}

struct SignedCodes {
  VecBytes magnitudes;
  __mmask64 negative;

  explicit BLIP2_INLINE SignedCodes(VecBytes codes)
      : magnitudes(reinterpret<VecBytes>(_mm512_abs_epi8(reinterpret<__m512i>(codes)))),
        negative(_mm512_movepi8_mask(reinterpret<__m512i>(codes))) {}
  BLIP2_INLINE VecInt sign(VecInt x) const {
    const __m512i plus = reinterpret<__m512i>(x);
    return reinterpret<VecInt>(_mm512_mask_sub_epi8(plus, negative, _mm512_setzero_si512(), plus));
  }
};

}  // namespace
}  // namespace blip2

#include "blip2/nn/kernels/block_pairs_internal.h"
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

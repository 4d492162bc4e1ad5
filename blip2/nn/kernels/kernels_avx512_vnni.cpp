// Products with matrices in blocks for AVX-512 with VNNI (Cascade Lake, Ice Lake, Zen 4 and later).
#include "blip2/nn/kernels/tables_internal.h"

#if defined(__x86_64__)
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "blip2/nn/kernels/kernels.h"

#if defined(__clang__)
#pragma clang attribute push(                                                                    \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi2"))), \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi2")
#pragma GCC diagnostic ignored "-Wpsabi"
#pragma GCC diagnostic ignored "-Wignored-attributes"
#pragma GCC diagnostic ignored "-Wuninitialized"  // _mm512_undefined_ps, GCC PR 105593
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include "blip2/nn/kernels/avx512_internal.h"
#include "blip2/nn/kernels/block_avx512_internal.h"

namespace blip2 {
namespace {

constexpr bool kSignedBytes = false;

// vpdpbusd multiplies four codes without sign with four signed activations and adds all to a sum.
template <int kBits>
struct Dots {
  using Codes = __m512i;
  using Sum = __m512i;
  static BLIP2_INLINE Codes codes(VecBytes bytes) { return reinterpret<Codes>(bytes); }
  static BLIP2_INLINE Sum begin(std::int32_t start) { return _mm512_set1_epi32(start); }
  static BLIP2_INLINE Sum add(Sum sum, Codes codes, const std::int8_t* quad) {
    return _mm512_dpbusd_epi32(sum, codes, reinterpret<__m512i>(splat_quad(quad)));
  }
  static BLIP2_INLINE VecInt total(Sum sum) { return reinterpret<VecInt>(sum); }
};

}  // namespace
}  // namespace blip2

#include "blip2/nn/kernels/block_table_internal.h"

namespace blip2 {
BlockKernelSet avx512_vnni_block_kernels() {
  return {"avx512-vnni", &block_table<float>, &block_table<Bf16>, &block_table<F16>};
}
}  // namespace blip2

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif

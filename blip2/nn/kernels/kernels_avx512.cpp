// The kernels for AVX-512 without its bf16 (Skylake, Cascade Lake, Ice Lake).
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
#include "blip2/nn/kernels/avx512.h"
#include "blip2/nn/kernels/table.h"

namespace blip2 {
KernelSet avx512_kernels() {
  return {"avx512", &table<float>, &table<Bf16>, &table<F16>};
}
}  // namespace blip2

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif

// kernels_amx_int8.cpp compiled once more, on emulated tiles.
#include "blip2/nn/kernels/emulated_tiles.h"

#if defined(__x86_64__)
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

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
#include "blip2/nn/kernels/block_tiles_table_internal.h"

namespace blip2 {
BlockKernelSet emulated_amx_block_kernels() {
  return {"emulated amx", on_tiles<EmulatedTiles, float>(), on_tiles<EmulatedTiles, Bf16>(),
          on_tiles<EmulatedTiles, F16>()};
}
}  // namespace blip2

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif

// Products of many rows with matrices in blocks on AMX's tiles (Sapphire Rapids and later);
// everything else is that of AVX-512 with VNNI.
#include "blip2/nn/kernels/tables_internal.h"

#if defined(__x86_64__)
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "blip2/nn/kernels/kernels.h"

#if defined(__clang__)
#pragma clang attribute push(                                                                \
    __attribute__((                                                                          \
        target("amx-tile,amx-int8,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2"))), \
    apply_to = function)
#else
#pragma GCC target("amx-tile,amx-int8,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2")
#pragma GCC diagnostic ignored "-Wpsabi"
#pragma GCC diagnostic ignored "-Wignored-attributes"
#pragma GCC diagnostic ignored "-Wuninitialized"  // _mm512_undefined_ps, GCC PR 105593
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include "blip2/nn/kernels/amx_tiles_internal.h"
#include "blip2/nn/kernels/avx512_internal.h"
#include "blip2/nn/kernels/block_avx512_internal.h"
#include "blip2/nn/kernels/block_tiles_table_internal.h"

namespace blip2 {
BlockKernelSet amx_block_kernels() {
  return {"amx", on_tiles<AmxTiles, float>(), on_tiles<AmxTiles, Bf16>(),
          on_tiles<AmxTiles, F16>()};
}
}  // namespace blip2

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif

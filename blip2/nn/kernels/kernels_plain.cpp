// The kernels for any machine.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "blip2/base/random.h"
#include "blip2/nn/kernels/kernels.h"
#include "blip2/nn/kernels/tables_internal.h"

#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif
#define BLIP2_LANES 4
#define BLIP2_TILE_ROWS 1
#define BLIP2_BLOCK_ROWS 2
#include "blip2/nn/kernels/block_table_internal.h"
#include "blip2/nn/kernels/table_internal.h"

namespace blip2 {
KernelSet plain_kernels() {
  return {"plain", &table<float>, &table<Bf16>, &table<F16>};
}

BlockKernelSet plain_block_kernels() {
  return {"plain", &block_table<float>, &block_table<Bf16>, &block_table<F16>};
}
}  // namespace blip2

// The kernels for any machine.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "blip2/nn/kernels/kernels.h"
#include "blip2/nn/kernels/tables.h"

#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif
#define BLIP2_LANES 4
#define BLIP2_TILE_ROWS 1
#include "blip2/nn/kernels/table.h"

namespace blip2 {
const Kernels<float>& plain_f32() {
  return table<float>;
}
const Kernels<Bf16>& plain_bf16() {
  return table<Bf16>;
}
const Kernels<F16>& plain_f16() {
  return table<F16>;
}
}  // namespace blip2

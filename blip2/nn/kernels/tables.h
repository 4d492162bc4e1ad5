#pragma once

#include "blip2/nn/kernels/kernels.h"

// One table an instruction set, each in its own kernels_*.cpp.
namespace blip2 {

#if defined(__x86_64__)
bool has_amx();  // with bf16, and allowed to this process
const Kernels<Bf16>& amx_bf16();
const Kernels<float>& avx512_f32();
const Kernels<Bf16>& avx512_bf16();
const Kernels<F16>& avx512_f16();
const Kernels<float>& avx2_f32();
const Kernels<Bf16>& avx2_bf16();
const Kernels<F16>& avx2_f16();
#endif
const Kernels<float>& plain_f32();
const Kernels<Bf16>& plain_bf16();
const Kernels<F16>& plain_f16();

}  // namespace blip2

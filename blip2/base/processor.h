#pragma once

namespace blip2 {

// Groups of instructions that this process may use: the processor has them and the operating
// system allows them. All are false on machines other than x86-64. Each group includes those before
// it, but for avx512_vnni, which some with avx512 have.
struct Processor {
  bool avx2 = false;         // AVX2 with FMA, F16C and BMI2
  bool avx512 = false;       // AVX-512 F, BW, DQ and VL
  bool avx512_vnni = false;  // sums of products of bytes in AVX-512
  bool avx512_bf16 = false;  // products of bf16 in AVX-512
  bool amx_bf16 = false;     // products of bf16 in AMX's tiles
};

// What this machine's processor has. Asked once; every thread may call it.
const Processor& processor();

}  // namespace blip2

#pragma once

namespace blip2 {

// Groups of instructions that this process may use: the processor has them and the operating system
// allows them. All are false on machines other than x86-64. Each group includes the groups before
// it, except that some processors with avx512 have no avx512_vnni, and that amx_int8 includes
// avx512_vnni instead of avx512_bf16 and amx_bf16.
struct Processor {
  bool avx2 = false;         // AVX2 with FMA, F16C and BMI2
  bool avx512 = false;       // AVX-512 F, BW, DQ and VL
  bool avx512_vnni = false;  // sums of products of bytes in AVX-512
  bool avx512_bf16 = false;  // products of bf16 in AVX-512
  bool amx_bf16 = false;     // products of bf16 in AMX's tiles
  bool amx_int8 = false;     // products of bytes in AMX's tiles
};

// The instructions that this machine's processor has, found out at the first call. Several threads
// may call it at once.
const Processor& processor();

}  // namespace blip2

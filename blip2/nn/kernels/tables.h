#pragma once

#include <vector>

#include "blip2/nn/kernels/kernels.h"

// One set of tables for each instruction set, each in its own kernels_*.cpp.
namespace blip2 {

struct KernelSet {
  const char* name;
  const Kernels<float>* f32;
  const Kernels<Bf16>* bf16;
  const Kernels<F16>* f16;
};

KernelSet plain_kernels();
#if defined(__x86_64__)
KernelSet avx2_kernels();
KernelSet avx512_kernels();
KernelSet avx512_bf16_kernels();  // products of bf16; all else is avx512_kernels()'
KernelSet amx_kernels();          // products of bf16; all else is avx512_kernels()'
#endif

// The kernel sets that this machine can run, from the lowest to the highest.
std::vector<KernelSet> runnable_kernels();

// The last of `sets` up to the one named `most`: all of them if `most` is empty or names one that
// this machine cannot run. Error if no instruction set has that name.
KernelSet choose_kernels(const std::vector<KernelSet>& sets, const char* most);

}  // namespace blip2

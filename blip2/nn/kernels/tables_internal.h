#pragma once

#include <vector>

#include "blip2/nn/kernels/block_kernels_internal.h"
#include "blip2/nn/kernels/kernels.h"

// One set of tables for each instruction set, each in its own kernels_*.cpp.
namespace blip2 {

struct KernelSet {
  const char* name;
  const Kernels<float>* f32;
  const Kernels<Bf16>* bf16;
  const Kernels<F16>* f16;
};

struct BlockKernelSet {
  const char* name;
  const BlockKernels<float>* f32;
  const BlockKernels<Bf16>* bf16;
  const BlockKernels<F16>* f16;
};

KernelSet plain_kernels();
BlockKernelSet plain_block_kernels();
#if defined(__x86_64__)
KernelSet avx2_kernels();
KernelSet avx512_kernels();
KernelSet avx512_bf16_kernels();  // products of bf16; all else is avx512_kernels()'
KernelSet amx_kernels();          // products of bf16; all else is avx512_bf16_kernels()'

BlockKernelSet avx2_block_kernels();
BlockKernelSet avx512_block_kernels();
BlockKernelSet avx512_vnni_block_kernels();
BlockKernelSet
amx_block_kernels();  // products of many rows; all else is avx512_vnni_block_kernels()'
#endif

// The kernel sets that this machine can run, from the lowest to the highest.
std::vector<KernelSet> runnable_kernels();
std::vector<BlockKernelSet> runnable_block_kernels();

// The last of `sets` up to the one named `most`: all of them if `most` is empty or names one that
// this machine cannot run. Error if no instruction set has that name.
KernelSet choose_kernels(const std::vector<KernelSet>& sets, const char* most);

// The last of `sets` that asks for no more than the kernels named `kernels` do.
BlockKernelSet choose_block_kernels(const std::vector<BlockKernelSet>& sets, const char* kernels);

}  // namespace blip2

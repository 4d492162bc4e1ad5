#pragma once
// The instructions on AMX's tiles (Intel's manual, volume 2); included by the kernels_amx*.cpp
// only, after their target is set. They are written here because GCC 12's own do not tell it that
// they read the memory behind their pointers, so that it may leave out what was written there.
#include "blip2/nn/kernels/avx512_internal.h"
#include "blip2/nn/kernels/tile_shapes_internal.h"

namespace blip2 {
namespace {

// A thread's tiles are its own. Each kernel shapes them at its begin and releases them at its end.
struct AmxTiles {
  static BLIP2_INLINE void shape(const TileShapes& shapes) {
    asm volatile("ldtilecfg %0" : : "m"(shapes));
  }
  static BLIP2_INLINE void release() { asm volatile("tilerelease"); }

  template <int tile>
  static BLIP2_INLINE void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(tile));
  }
  // Rows lie `stride` bytes apart.
  template <int tile>
  static BLIP2_INLINE void load(const void* from, Int stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(tile) : "memory");
  }
  template <int tile>
  static BLIP2_INLINE void store(void* to, Int stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(tile) : "memory");
  }
  // sum += left * right of signed bytes, in 32 bits; of bf16, in f32.
  template <int sum, int left, int right>
  static BLIP2_INLINE void multiply_bytes() {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sum), "i"(left), "i"(right));
  }
  template <int sum, int left, int right>
  static BLIP2_INLINE void multiply_bf16() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sum), "i"(left), "i"(right));
  }
};

}  // namespace
}  // namespace blip2

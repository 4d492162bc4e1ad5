#pragma once
// AMX's tiles in plain C++, with what Intel's manual says of shapes, faults and of what lies
// outside a shape; included by the *_test.cpp only. What faults on a processor throws
// std::logic_error.
#include <cstdint>

#include "blip2/nn/kernels/tables_internal.h"
#include "blip2/nn/kernels/tile_shapes_internal.h"

namespace blip2 {

// Takes the place of AmxTiles (amx_tiles_internal.h); a thread's tiles are its own.
struct EmulatedTiles {
  using Int = std::int64_t;

  static void shape(const TileShapes& shapes);
  static void release();
  static bool released();
  static void zero(int tile);
  static void load(int tile, const void* from, Int stride);
  static void store(int tile, void* to, Int stride);
  static void multiply_bytes(int sum, int left, int right);

  template <int tile>
  static void zero() {
    zero(tile);
  }
  template <int tile>
  static void load(const void* from, Int stride) {
    load(tile, from, stride);
  }
  template <int tile>
  static void store(void* to, Int stride) {
    store(tile, to, stride);
  }
  template <int sum, int left, int right>
  static void multiply_bytes() {
    multiply_bytes(sum, left, right);
  }
};

#if defined(__x86_64__)
// The products with blocks of amx_block_kernels() on emulated tiles, for a processor with AVX-512
// and VNNI.
BlockKernelSet emulated_amx_block_kernels();
#endif

}  // namespace blip2

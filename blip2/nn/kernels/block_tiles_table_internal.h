#pragma once
// Products of many rows with matrices in GGUF's blocks on AMX's tiles (block_tiles_internal.h), and
// their table; included by kernels_amx_int8.cpp, and by a test with emulated tiles, behind
// block_avx512_internal.h. Rows that fill no tile are left to AVX-512 with VNNI.
#include "blip2/nn/kernels/block_tiles_internal.h"
#include "blip2/nn/kernels/tables_internal.h"

namespace blip2 {
namespace {

constexpr Int kFewestRows = 16;  // an estimate: fewer are not worth opening the blocks
constexpr Int kMostRows = 256;   // at once: as many sums of two groups are 32 KiB

// Opens the blocks [begin, begin + count) of a group, and has what follows them fetched.
template <typename F>
void open_blocks(const std::uint8_t* group, Int blocks, Int begin, Int count, OpenBlock* open) {
  const std::uint8_t* lines = group + begin * F::line_bytes;
  const std::uint8_t* scales = group + blocks * F::line_bytes;
  for (Int i = begin; i < begin + count; ++i, lines += F::line_bytes, ++open) {
    for (int line = 0; line < F::bits; ++line) {
      __builtin_prefetch(lines + kOpenBlocks * F::line_bytes + line * kLineBytes);
    }
    open_block<F>(lines, scales + i / F::blocks * F::scale_bytes, i % F::blocks, *open);
  }
}

// The sums [tile of rows][group][row][out] of whole tiles of rows with G groups.
template <typename Tiles, typename F, int G>
void multiply_opened(const std::uint8_t* group, Int bytes, Int blocks, const ActivationBlock* x,
                     Int rows, float* sums) {
  OpenGroups<G> open;
  std::memset(sums, 0, sizeof(float) * static_cast<std::size_t>(rows * G * kGroupOuts));
  for (Int begin = 0; begin < blocks; begin += kOpenBlocks) {
    const Int count = blocks - begin < kOpenBlocks ? blocks - begin : kOpenBlocks;
    for (int g = 0; g < G; ++g) open_blocks<F>(group + g * bytes, blocks, begin, count, open[g]);
    for (Int row = 0; row < rows; row += kTileRows) {
      add_open<Tiles, F, G>(open, count, x + row * blocks + begin * kTileRows,
                            sums + row * G * kGroupOuts);
    }
  }
}

// Activations that fit half of a second-level cache stay there while the weights pass by once.
BLIP2_INLINE Int rows_at_once(Int blocks) {
  constexpr Int cache_bytes = 1 << 20;
  const Int fitting = cache_bytes / (blocks * static_cast<Int>(sizeof(ActivationBlock)));
  if (fitting < kFewestRows) return kFewestRows;
  return fitting < kMostRows ? fitting / kTileRows * kTileRows : kMostRows;
}

// Whole tiles of rows.
template <typename Tiles, typename F>
void multiply_on_tiles(const BlockMatrixView& weight, const ActivationBlock* x, Int rows, Int begin,
                       Int end, const PutTile& put, Store store_as, void* y, Int stride) {
  const Int blocks = weight.width / kBlockWidth, bytes = group_bytes(weight.type, weight.width);
  const Int most = rows_at_once(blocks);
  const auto* packed = reinterpret_cast<const std::uint8_t*>(weight.packed);
  alignas(kLineBytes) float sums[kMostRows * 2 * kGroupOuts];
  Tiles::shape(block_tile_shapes<F>());
  for (Int first = 0; first < rows; first += most) {
    const Int count = rows - first < most ? rows - first : most;
    for (Int group = begin; group < end; group += 2) {
      const Int groups = end - group < 2 ? 1 : 2;
      const auto multiply =
          groups == 1 ? multiply_opened<Tiles, F, 1> : multiply_opened<Tiles, F, 2>;
      multiply(packed + group * bytes, bytes, blocks, x + first * blocks, count, sums);
      for (Int i = 0; i < count / kTileRows * groups; ++i) {
        const Int out = (group + i % groups) * kGroupOuts, left = weight.outs - out;
        put(sums + i * kTileRows * kGroupOuts, kTileRows, left < kGroupOuts ? left : kGroupOuts,
            store_as, y, (first + i / groups * kTileRows) * stride + out, stride);
      }
    }
  }
  Tiles::release();
}

template <typename T>
const BlockKernels<T>& without_tiles() {
  if constexpr (std::is_same_v<T, Bf16>) return *avx512_vnni_block_kernels().bf16;
  if constexpr (std::is_same_v<T, F16>) return *avx512_vnni_block_kernels().f16;
  if constexpr (std::is_same_v<T, float>) return *avx512_vnni_block_kernels().f32;
}

template <typename Tiles, typename T>
void multiply_many(const BlockMatrixView& weight, const ActivationBlock* x, Int rows, Int begin,
                   Int end, Store store_as, void* y, Int stride) {
  const Int tiled = rows < kFewestRows ? 0 : rows / kTileRows * kTileRows;
  if (tiled > 0) {
    with_format(weight.type, [&]<typename F>(F) {
      multiply_on_tiles<Tiles, F>(weight, x, tiled, begin, end, put_tile<T>, store_as, y, stride);
    });
  }
  if (tiled == rows) return;
  const Int size = store_as == Store::value ? sizeof(T) : sizeof(float);
  without_tiles<T>().multiply(weight, x + tiled * (weight.width / kBlockWidth), rows - tiled, begin,
                              end, store_as, static_cast<std::byte*>(y) + tiled * stride * size,
                              stride);
}

template <typename Tiles, typename T>
const BlockKernels<T>* on_tiles() {
  static const BlockKernels<T> kernels = {.quantise = without_tiles<T>().quantise,
                                          .multiply = multiply_many<Tiles, T>,
                                          .widen = without_tiles<T>().widen};
  return &kernels;
}

}  // namespace
}  // namespace blip2

#pragma once
// Products with matrices in GGUF's blocks (block_layout.h, block_kernels_internal.h); included by
// the kernels_*.cpp only.
#include "blip2/nn/kernels/block_formats_internal.h"

namespace blip2 {
namespace {
template <typename F>
BLIP2_INLINE std::int32_t start_of(const ActivationBlock& x) {
  if constexpr (F::zero == 8) return x.minus8;
  if constexpr (F::zero == 16) return x.minus16;
  if constexpr (F::zero == 128) return x.minus128;
  return 0;
}

BLIP2_INLINE Vec as_floats(VecInt v) {
  return __builtin_convertvector(v, Vec);
}

// Adds the whole products of one block with one row, scaled; `second` are those of the second half
// of a halved block.
template <typename F>
BLIP2_INLINE void add_scaled(VecInt first, VecInt second, const BlockScales& s,
                             const ActivationBlock& x, Vec& sum) {
  sum += as_floats(first) * (s.scale * x.scale);
  if constexpr (F::halved) sum += as_floats(second) * (s.second * x.scale);
  if constexpr (F::minimum) sum += s.minimum * x.sum;
}

// Adds the products of one block with R rows to their sums.
template <typename F, int R>
BLIP2_INLINE void add_block(const std::uint8_t* lines, const BlockScales& s,
                            const ActivationBlock* x, Vec* sums) {
  using D = Dots<F::code_bits>;
  typename D::Sum first[R], second[R];
  for (int r = 0; r < R; ++r) {
    first[r] = D::begin(F::halved ? x[r].minus32[0] : start_of<F>(x[r]));
    if constexpr (F::halved || R <= 2) second[r] = D::begin(F::halved ? x[r].minus32[1] : 0);
  }
  const auto step = [&]<int j>() __attribute__((always_inline)) {
    const TwoQuads quads = quads_at<F, j>(lines);
    const typename D::Codes a = D::codes(quads.first), b = D::codes(quads.second);
    for (int r = 0; r < R; ++r) first[r] = D::add(first[r], a, x[r].q + 4 * j);
    for (int r = 0; r < R; ++r) {
      auto& sum = F::halved || R <= 2 ? second[r] : first[r];  // two chains hide the latency
      sum = D::add(sum, b, x[r].q + 16 + 4 * j);
    }
  };
  constexpr Int ahead = 32 * kLineBytes;  // several rows are too slow for the processor to look on
  for (int i = 0; i < F::bits; ++i) __builtin_prefetch(lines + i * kLineBytes + ahead);
  step.template operator()<0>();
  step.template operator()<1>();
  step.template operator()<2>();
  step.template operator()<3>();
  for (int r = 0; r < R; ++r) {
    VecInt dots = D::total(first[r]), others = {};
    if constexpr (F::halved || R <= 2) others = D::total(second[r]);
    if constexpr (!F::halved) dots += others;
    add_scaled<F>(dots, others, s, x[r], sums[r]);
  }
}

// The products of `lanes` outs from `out` of a group with R rows of a tile: sums to y[r * 16].
template <typename F, int R>
void multiply_lanes(const std::uint8_t* group, Int out, const ActivationBlock* x, Int tile,
                    Int blocks, float* y) {
  const std::uint8_t* lines = group + 4 * out;
  const std::uint8_t* scales = group + blocks * F::line_bytes;
  Vec sums[R] = {};
  for (Int block = 0; block < blocks; block += F::blocks, scales += F::scale_bytes) {
    for (Int i = 0; i < F::blocks; ++i, lines += F::line_bytes, x += tile) {
      add_block<F, R>(lines, scales_at<F>(scales, i, out), x, sums);
    }
  }
  for (int r = 0; r < R; ++r) store(y + r * kGroupOuts + out, sums[r]);
}

using MultiplyLanes = void (*)(const std::uint8_t*, Int, const ActivationBlock*, Int, Int, float*);

template <typename F, int... R>
BLIP2_INLINE MultiplyLanes lanes_kernel(Int rows, std::integer_sequence<int, R...>) {
  constexpr MultiplyLanes all[] = {multiply_lanes<F, R + 1>...};
  return all[rows - 1];
}

// One group with one tile of rows: sums to y[row * 16].
template <typename F>
BLIP2_INLINE void multiply_tile(const std::uint8_t* group, const ActivationBlock* x, Int tile,
                                Int blocks, float* y) {
  for (Int row = 0; row < tile; row += BLIP2_BLOCK_ROWS) {
    const Int rows = tile - row < BLIP2_BLOCK_ROWS ? tile - row : BLIP2_BLOCK_ROWS;
    const auto kernel = lanes_kernel<F>(rows, std::make_integer_sequence<int, BLIP2_BLOCK_ROWS>());
    for (Int out = 0; out < kGroupOuts; out += lanes) {
      kernel(group, out, x + row, tile, blocks, y + row * kGroupOuts);
    }
  }
}

// Writes the sums of a tile where they belong.
using PutTile = void (*)(const float* sums, Int rows, Int outs, Store store_as, void* y, Int at,
                         Int stride);

template <typename T>
void put_tile(const float* sums, Int rows, Int outs, Store store_as, void* y, Int at, Int stride) {
  for (Int row = 0; row < rows; ++row, at += stride, sums += kGroupOuts) {
    float* const wide = static_cast<float*>(y) + at;
    T* const value = static_cast<T*>(y) + at;
    for_each_vec(outs, [&](Int i, auto read, auto write) {
      if (store_as == Store::value) return write(value + i, read(sums + i));
      write(wide + i,
            store_as == Store::add_f32 ? read(wide + i) + read(sums + i) : read(sums + i));
    });
  }
}

// Activations that fit half of a second-level cache stay there while the weights pass by once.
template <typename F>
void multiply_groups(const BlockMatrixView& weight, const ActivationBlock* x, Int rows, Int begin,
                     Int end, const PutTile& put, Store store_as, void* y, Int stride) {
  constexpr Int cache_bytes = 512 << 10;
  const Int blocks = weight.width / kBlockWidth, bytes = group_bytes(weight.type, weight.width);
  const Int fitting = cache_bytes / (blocks * static_cast<Int>(sizeof(ActivationBlock)));
  const Int most = fitting < kTileRows ? kTileRows : fitting / kTileRows * kTileRows;
  const auto* packed = reinterpret_cast<const std::uint8_t*>(weight.packed);
  float sums[kTileRows * kGroupOuts];
  for (Int first = 0; first < rows; first += most) {
    const Int last = first + most < rows ? first + most : rows;
    for (Int group = begin; group < end; ++group) {
      const Int out = group * kGroupOuts, left = weight.outs - out;
      for (Int row = first; row < last; row += kTileRows) {
        const Int tile = rows - row < kTileRows ? rows - row : kTileRows;
        multiply_tile<F>(packed + group * bytes, x + row * blocks, tile, blocks, sums);
        put(sums, tile, left < kGroupOuts ? left : kGroupOuts, store_as, y, row * stride + out,
            stride);
      }
    }
  }
}

template <typename T>
void multiply_blocks(const BlockMatrixView& weight, const ActivationBlock* x, Int rows, Int begin,
                     Int end, Store store_as, void* y, Int stride) {
  with_format(weight.type, [&]<typename F>(F) {
    multiply_groups<F>(weight, x, rows, begin, end, put_tile<T>, store_as, y, stride);
  });
}

}  // namespace
}  // namespace blip2

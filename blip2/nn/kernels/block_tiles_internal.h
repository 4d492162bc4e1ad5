#pragma once
// Products of tiles of rows with open blocks on AMX's tiles; included by
// block_tiles_table_internal.h only.
//
// Activations are the left factor, eight rows a tile as they lie (block_layout.h), a block's codes
// less their zero the right one: its lines hold four neighbours in the width of 16 outs, as a right
// factor's rows do. The whole products of a block are scaled and added as without tiles, in the
// same order, so the results are those of AVX-512 with VNNI, bit for bit.
#include "blip2/nn/kernels/block_dots_internal.h"
#include "blip2/nn/kernels/tile_shapes_internal.h"

namespace blip2 {
namespace {

constexpr bool kSignedBytes = false;  // there are no Dots: tiles multiply

}  // namespace
}  // namespace blip2

#include "blip2/nn/kernels/block_products_internal.h"
#include "blip2/nn/kernels/open_block_internal.h"

namespace blip2 {
namespace {

static_assert(lanes == kGroupOuts);
constexpr Int kOpenBlocks = 16;  // at once, of a group: two groups' stay in the first-level cache

template <typename F>
constexpr int kParts = F::halved ? 2 : 1;  // of a block, each with a scale of its own

// Tiles 0 to 3: whole products of eight rows with 16 outs; 4 and 5: the activations of a block's
// parts; 6 and 7: codes of a part.
template <typename F>
TileShapes block_tile_shapes() {
  constexpr int width = kBlockWidth / kParts<F>;
  TileShapes shapes;
  for (int i = 0; i < 8; ++i) {
    shapes.bytes[i] = i == 4 || i == 5 ? width : kLineBytes;
    shapes.rows[i] = i < 6 ? kTileRows : width / 4;
  }
  return shapes;
}

using Products = std::int32_t[kTileRows][kGroupOuts];

// The whole products of a part of a block; i counts the parts of all groups.
template <typename Tiles, typename F, int i>
BLIP2_INLINE void multiply_part(const OpenBlock& block, Products& products) {
  constexpr int part = i % kParts<F>, codes = 6 + i % 2;
  Tiles::template load<codes>(block.codes[part * 4], kLineBytes);
  Tiles::template zero<i>();
  Tiles::template multiply_bytes<i, 4 + part, codes>();
  Tiles::template store<i>(products, kLineBytes);
}

// f.operator()<0>(), and so on to n - 1: so that sums stay in registers.
template <int n, typename F>
BLIP2_INLINE void unrolled(const F& f) {
  [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) {
    (f.template operator()<i>(), ...);
  }
  (std::make_integer_sequence<int, n>());
}

template <int G>
using OpenGroups = OpenBlock[G][kOpenBlocks];

// The whole products of one block of eight rows with G groups.
template <typename Tiles, typename F, int G>
BLIP2_INLINE void multiply_open(const OpenGroups<G>& open, Int block, const ActivationBlock* x,
                                Products* products) {
  constexpr Int stride = sizeof(ActivationBlock);
  Tiles::template load<4>(x->q, stride);
  if constexpr (F::halved) Tiles::template load<5>(x->q + kBlockWidth / 2, stride);
  unrolled<G * kParts<F>>([&]<int i>() __attribute__((always_inline)) {
    multiply_part<Tiles, F, i>(open[i / kParts<F>][block], products[i]);
  });
}

BLIP2_INLINE VecInt whole_at(const std::int32_t* p) {
  VecInt v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

// Adds the products of one block, scaled, to the sums of eight rows of a group.
template <typename F>
BLIP2_INLINE void add_products(const OpenBlock& block, const Products* parts,
                               const ActivationBlock* x, Vec* sums) {
  const BlockScales s = {load(block.scale[0]), load(block.scale[1]), load(block.minimum)};
  unrolled<kTileRows>([&]<int r>() __attribute__((always_inline)) {
    add_scaled<F>(whole_at(parts[0][r]), whole_at(parts[kParts<F> - 1][r]), s, x[r], sums[r]);
  });
}

// Adds the products of `count` blocks of one tile of rows with G groups to sums[group][row][out]. A
// block is multiplied while the one before it is scaled.
template <typename Tiles, typename F, int G>
void add_open(const OpenGroups<G>& open, Int count, const ActivationBlock* x, float* to) {
  alignas(kLineBytes) Products products[2][G * kParts<F>];
  constexpr int all = G * static_cast<int>(kTileRows);
  Vec sums[all];
  unrolled<all>([&]<int i>() __attribute__((always_inline)) { sums[i] = load(to + i * lanes); });
  multiply_open<Tiles, F, G>(open, 0, x, products[0]);
  for (Int block = 0; block < count; ++block, x += kTileRows) {
    if (block + 1 < count) {
      multiply_open<Tiles, F, G>(open, block + 1, x + kTileRows, products[(block + 1) % 2]);
    }
    unrolled<G>([&]<int g>() __attribute__((always_inline)) {
      add_products<F>(open[g][block], products[block % 2] + g * kParts<F>, x, sums + g * kTileRows);
    });
  }
  unrolled<all>([&]<int i>() __attribute__((always_inline)) { store(to + i * lanes, sums[i]); });
}

}  // namespace
}  // namespace blip2

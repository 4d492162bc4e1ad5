#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "blip2/io/tensor_view.h"

// Matrices in GGUF's blocks as the kernels read them, on plain memory without LibTorch.
//
// A file has a row's blocks one after another. The kernels take kGroupOuts rows (outs) at a time,
// one in each lane of a register, so that neither scales nor sums have to be spread or reduced: the
// numbers are laid together once, by groups of that many outs, bit for bit. Of a group come first
// the codes of all blocks of 32 of the width, `bits` lines of 64 bytes each, then the scales of all
// blocks. In a line every out has four bytes. Quad t of a block are its elements 4 t .. 4 t + 3:
//   4, 5 and 6 bits: lines 0 to 3 hold the low four bits of quad j in their lower and of quad j + 4
//   in their upper halves; 5 bits: bit t of line 4 is the fifth of quad t; 6 bits: bits 2 u and
//   2 u + 1 of line 4 + t / 4 are the upper ones of quad t, u = t % 4;
//   8 bits: line t holds quad t plus 128.
// The codes of IQ4_NL and MXFP4 have four bits, which stand for values of a table
// (blip2/io/code_tables.h).
// Scales are those of the file: halves d[16], with halves m[16] behind where a type has a minimum.
// Q4_K and Q5_K: for 256 of the width d[16], dmin[16], then eight times the bytes scale[16],
// minimum[16]. Q6_K: d[16], then eight times the signed bytes scale[16] of the first and of the
// second half of a block. MXFP4: its exponents as bytes e[16].
namespace blip2 {

inline constexpr std::int64_t kGroupOuts = 16, kBlockWidth = 32, kLineBytes = 64;

struct BlockLayout {
  int bits;                  // a code's
  std::int64_t blocks;       // blocks of 32 that share a scale of scales: 1 or 8
  std::int64_t scale_bytes;  // of these blocks, for a group
};

// Empty for a type that the kernels do not read.
std::optional<BlockLayout> block_layout(DType type);

// Bytes of one group, and of a whole matrix [outs, width]. The width is a multiple of the type's
// block.
std::int64_t group_bytes(DType type, std::int64_t width);
std::int64_t packed_bytes(DType type, std::int64_t outs, std::int64_t width);

// Lays the groups [begin, end) of a matrix [outs, width] together. `rows` are the file's; out i is
// the file's row from[i], or i if `from` is empty. `packed` is the whole matrix, aligned to a line;
// outs beyond the last are zeros. Returns the first out of these groups with a scale that is not
// finite, or -1.
std::int64_t pack_groups(DType type, const std::byte* rows, std::int64_t outs, std::int64_t width,
                         std::span<const std::int32_t> from, std::int64_t begin, std::int64_t end,
                         std::byte* packed);

// Whether every scale of these blocks of a file is finite.
bool has_finite_scales(DType type, std::span<const std::byte> blocks);

// A matrix [outs, width] that pack_groups has laid together.
struct BlockMatrixView {
  DType type;
  std::int64_t outs, width;
  const std::byte* packed;
};

// 32 of a row of activations in eight bits: element i is q[i] * scale, scale being the largest
// magnitude / 127, and q the nearest whole number, to even. The scale is NaN where one of them is
// not finite.
struct alignas(64) ActivationBlock {
  std::int8_t q[32];
  float scale;
  float sum;                // of all q, times scale
  std::int32_t minus8;      // -8 times the sum of all q: what the zero of a type's codes takes off
  std::int32_t minus16;     // -16 times
  std::int32_t minus128;    // -128 times
  std::int32_t minus32[2];  // -32 times the sum of the first and of the second sixteen
  std::int32_t reserved;
};
static_assert(sizeof(ActivationBlock) == 64);

// Activation rows are kept in tiles of this many; within a tile block after block, the blocks of
// its rows side by side. The last tile has the rows that are left.
inline constexpr std::int64_t kTileRows = 8;

// Where row `row` of `rows` has its block `block` of `blocks`.
inline std::int64_t activation_index(std::int64_t row, std::int64_t rows, std::int64_t block,
                                     std::int64_t blocks) {
  const std::int64_t first = row / kTileRows * kTileRows;
  const std::int64_t tile = rows - first < kTileRows ? rows - first : kTileRows;
  return first * blocks + block * tile + (row - first);
}

}  // namespace blip2

// The bf16 product on AMX's tiles (Sapphire Rapids and later); everything else is
// that of AVX-512 with BF16.
#include "blip2/nn/kernels/tables_internal.h"

#if defined(__x86_64__)
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "blip2/nn/kernels/kernels.h"

#if defined(__clang__)
#pragma clang attribute push(                                                                \
    __attribute__((                                                                          \
        target("amx-tile,amx-bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2"))), \
    apply_to = function)
#else
#pragma GCC target("amx-tile,amx-bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2")
#pragma GCC diagnostic ignored "-Wpsabi"
#pragma GCC diagnostic ignored "-Wignored-attributes"
#pragma GCC diagnostic ignored "-Wuninitialized"  // _mm512_undefined_ps, GCC PR 105593
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include "blip2/nn/kernels/amx_tiles_internal.h"
#include "blip2/nn/kernels/avx512_internal.h"

namespace blip2 {
namespace {

// A tile holds 16 lines of 64 bytes. The weights are the left factor as they lie in memory, 16 outs
// by 32 of the width; the activations the right one, repacked once: of 32 of the width by 16 rows,
// neighbours in the width side by side. A product of tiles adds its terms in ascending order for
// every (out, row) by itself, so a value does not depend on what stands beside it.
constexpr Int kLine = 16, kDepth = 32, kTile = kLine * kDepth;

// Tiles 0 to 3: sums of two blocks of outs by two of rows; 4, 5: weights; 6, 7: activations. The
// second block of outs has `second` lines.
void shape_tiles(Int first, Int second) {
  TileShapes shapes;
  const Int outs[2] = {first, second};
  for (int i = 0; i < 8; ++i) {
    shapes.bytes[i] = 64;
    shapes.rows[i] = static_cast<std::uint8_t>(i < 4 ? outs[i / 2] : i < 6 ? outs[i - 4] : kLine);
  }
  AmxTiles::shape(shapes);
}

// 16 x 16 floats turned about the diagonal, in steps of pairs, fours, eights and sixteens.
BLIP2_INLINE void turn(__m512* v) {
  __m512 w[16];
  for (int i = 0; i < 16; i += 2) {
    w[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
    w[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    v[i] = _mm512_shuffle_ps(w[i], w[i + 2], 0x44);
    v[i + 1] = _mm512_shuffle_ps(w[i], w[i + 2], 0xee);
    v[i + 2] = _mm512_shuffle_ps(w[i + 1], w[i + 3], 0x44);
    v[i + 3] = _mm512_shuffle_ps(w[i + 1], w[i + 3], 0xee);
  }
  for (int i = 0; i < 16; i += 8) {
    for (int j = 0; j < 4; ++j) {
      w[i + j] = _mm512_shuffle_f32x4(v[i + j], v[i + j + 4], 0x88);
      w[i + j + 4] = _mm512_shuffle_f32x4(v[i + j], v[i + j + 4], 0xdd);
    }
  }
  for (int j = 0; j < 8; ++j) {
    v[j] = _mm512_shuffle_f32x4(w[j], w[j + 8], 0x88);
    v[j + 8] = _mm512_shuffle_f32x4(w[j], w[j + 8], 0xdd);
  }
}

// The activations as right factors: block of 16 rows by block of 32 of the width, a tile each;
// zeros where there are none.
void pack(const Bf16* x, Int rows, Int width, Bf16* packed) {
  for (Int row = 0; row < rows; row += kLine) {
    for (Int i = 0; i < width; i += kDepth, packed += kTile) {
      const Int rest = width - i;
      const __mmask32 there = rest < kDepth ? (1u << rest) - 1u : ~0u;
      __m512 lines[kLine];
      for (Int r = 0; r < kLine; ++r) {
        const __m512i line = row + r < rows
                                 ? _mm512_maskz_loadu_epi16(there, x + (row + r) * width + i)
                                 : _mm512_setzero_si512();
        lines[r] = _mm512_castsi512_ps(line);
      }
      turn(lines);
      for (Int r = 0; r < kLine; ++r) _mm512_storeu_ps(packed + r * kDepth, lines[r]);
    }
  }
}

struct Output {
  Store store_as;
  void* y;
  Int stride;
};

// Writes the sums [outs, rows] of one tile.
BLIP2_INLINE void put(const float* sums, Int out, Int outs, Int row, Int rows,
                      const Output& output) {
  __m512 v[kLine];
  for (Int i = 0; i < kLine; ++i) v[i] = i < outs ? _mm512_load_ps(sums + i * kLine) : __m512{};
  turn(v);
  const auto there = static_cast<__mmask16>((1u << outs) - 1u);
  for (Int r = 0; r < rows; ++r) {
    const Int at = (row + r) * output.stride + out;
    if (output.store_as == Store::value) {
      auto* const y = static_cast<Bf16*>(output.y) + at;
      const VecHalf half = round_to_bf16(reinterpret<Vec>(v[r]));
      _mm256_mask_storeu_epi16(y, there, reinterpret<__m256i>(half));
      continue;
    }
    float* const y = static_cast<float*>(output.y) + at;
    if (output.store_as == Store::add_f32) {
      v[r] = _mm512_add_ps(_mm512_maskz_loadu_ps(there, y), v[r]);
    }
    _mm512_mask_storeu_ps(y, there, v[r]);
  }
}

// The last of the width, less than a tile: a copy with zeros behind.
void copy_rest(const Bf16* weight, Int width, Int outs, Int rest, Bf16* copy) {
  std::memset(copy, 0, sizeof(Bf16) * kTile);
  for (Int o = 0; o < outs; ++o) {
    std::memcpy(copy + o * kDepth, weight + o * width,
                sizeof(Bf16) * static_cast<std::size_t>(rest));
  }
}

// `A` blocks of outs by `B` blocks of rows.
template <int A, int B>
BLIP2_INLINE void multiply_tiles(const Bf16* weight, Int width, const Bf16* const* rests,
                                 const Bf16* packed, Int packed_block) {
  const auto step = [&](const Bf16* w0, const Bf16* w1, Int stride, const Bf16* right)
      __attribute__((always_inline)) {
    AmxTiles::load<4>(w0, stride);
    if constexpr (A == 2) AmxTiles::load<5>(w1, stride);
    AmxTiles::load<6>(right, 64);
    if constexpr (B == 2) AmxTiles::load<7>(right + packed_block, 64);
    AmxTiles::multiply_bf16<0, 4, 6>();
    if constexpr (B == 2) AmxTiles::multiply_bf16<1, 4, 7>();
    if constexpr (A == 2) AmxTiles::multiply_bf16<2, 5, 6>();
    if constexpr (A == 2 && B == 2) AmxTiles::multiply_bf16<3, 5, 7>();
  };
  AmxTiles::zero<0>();
  if constexpr (B == 2) AmxTiles::zero<1>();
  if constexpr (A == 2) AmxTiles::zero<2>();
  if constexpr (A == 2 && B == 2) AmxTiles::zero<3>();
  const Int whole = width / kDepth;
  for (Int i = 0; i < whole; ++i) {
    step(weight + i * kDepth, weight + kLine * width + i * kDepth, width * 2, packed + i * kTile);
  }
  if (rests[0]) step(rests[0], rests[1], 64, packed + whole * kTile);
}

// The outs [out, out + outs), at most two blocks, for all rows.
template <int A>
void multiply_outs(const Bf16* weight, Int width, const Bf16* packed, Int out, Int outs, Int rows,
                   const Output& output) {
  alignas(64) Bf16 rest_memory[2][kTile];
  const Bf16* rests[2] = {nullptr, nullptr};
  const Int first = outs < kLine ? outs : kLine, rest = width % kDepth;
  if (rest > 0) {
    const Bf16* ends = weight + width - rest;
    copy_rest(ends, width, first, rest, rest_memory[0]);
    if (A == 2) copy_rest(ends + kLine * width, width, outs - kLine, rest, rest_memory[1]);
    rests[0] = rest_memory[0], rests[1] = rest_memory[1];
  }
  const Int block = (width + kDepth - 1) / kDepth * kTile;
  alignas(64) float sums[4][kLine * kLine];
  const auto put_block = [&](Int a, Int b, Int row) {
    const Int left = rows - row - b * kLine;
    put(sums[2 * a + b], out + a * kLine, a == 0 ? first : outs - kLine, row + b * kLine,
        left < kLine ? left : kLine, output);
  };
  for (Int row = 0; row < rows; row += 2 * kLine, packed += 2 * block) {
    const bool two = rows - row > kLine;
    if (two) {
      multiply_tiles<A, 2>(weight, width, rests, packed, block);
    } else {
      multiply_tiles<A, 1>(weight, width, rests, packed, block);
    }
    AmxTiles::store<0>(sums[0], 64);
    if (two) AmxTiles::store<1>(sums[1], 64);
    if constexpr (A == 2) AmxTiles::store<2>(sums[2], 64);
    if (A == 2 && two) AmxTiles::store<3>(sums[3], 64);
    for (Int a = 0; a < A; ++a) {
      put_block(a, 0, row);
      if (two) put_block(a, 1, row);
    }
  }
}

void linear_amx(const Bf16* x, Int rows, Int width, const Bf16* weight, Int begin, Int end,
                Store store_as, void* y, Int y_stride) {
  // Packed activations stay in half of a second-level cache while the weights pass by once.
  constexpr Int cache_bytes = 1 << 20;
  const Int depth = (width + kDepth - 1) / kDepth * kDepth;
  const Int fitting = cache_bytes / (depth * 2) / (2 * kLine) * (2 * kLine);
  const Int most = fitting < 2 * kLine ? 2 * kLine : fitting;
  std::vector<Bf16> packed(
      static_cast<std::size_t>(depth * ((rows < most ? rows : most) + kLine - 1) / kLine * kLine));
  for (Int row = 0; row < rows; row += most) {
    const Int count = rows - row < most ? rows - row : most;
    pack(x + row * width, count, width, packed.data());
    const Int bytes = store_as == Store::value ? 2 : 4;
    const Output output{store_as, static_cast<std::byte*>(y) + row * y_stride * bytes, y_stride};
    Int shaped = 0;
    for (Int out = begin; out < end; out += 2 * kLine) {
      const Int outs = end - out < 2 * kLine ? end - out : 2 * kLine;
      if (outs != shaped) {
        shape_tiles(outs < kLine ? outs : kLine, outs > kLine ? outs - kLine : kLine);
        shaped = outs;
      }
      const Bf16* from = weight + out * width;
      if (outs > kLine) {
        multiply_outs<2>(from, width, packed.data(), out, outs, count, output);
      } else {
        multiply_outs<1>(from, width, packed.data(), out, outs, count, output);
      }
    }
  }
  AmxTiles::release();
}

}  // namespace

KernelSet amx_kernels() {
  static const Kernels<Bf16> bf16 = [] {
    Kernels<Bf16> mixed = *avx512_bf16_kernels().bf16;  // every processor with AMX has these
    mixed.linear = linear_amx;
    return mixed;
  }();
  return {"amx", avx512_kernels().f32, &bf16, avx512_kernels().f16};
}

}  // namespace blip2

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif

#pragma once
// Products with matrices in GGUF's blocks (block_layout.h, block_kernels.h); included by the
// kernels_*.cpp only. A register's lanes are outs.
#include "blip2/nn/kernels/block_dots.h"
#include "blip2/nn/kernels/block_kernels.h"
#include "blip2/nn/kernels/block_rows.h"

namespace blip2 {
namespace {

// A type of blocks: kBits of a code; a code's zero; whether there is a minimum; whether eight
// blocks share a scale of their scales.
template <int kBits, int kZero, bool kMinimum, bool kShared>
struct Format {
  static constexpr int bits = kBits, zero = kBits == 8 && kSignedBytes ? 0 : kZero;
  static constexpr bool minimum = kMinimum, shared = kShared;
  static constexpr bool halved = kShared && !kMinimum;  // each half of a block has a scale
  static constexpr Int blocks = kShared ? 8 : 1;
  // Of one block: lines, and of those that share: scales.
  static constexpr Int line_bytes = kBits * kLineBytes;
  static constexpr Int scale_bytes = (kMinimum ? 64 : 32) + (kShared ? 8 * 32 : 0);
};

// f(Format) of the type.
template <typename F>
BLIP2_INLINE void with_format(DType type, const F& f) {
  switch (type) {
    case DType::q4_0:
      return f(Format<4, 8, false, false>());
    case DType::q4_1:
      return f(Format<4, 0, true, false>());
    case DType::q5_0:
      return f(Format<5, 16, false, false>());
    case DType::q5_1:
      return f(Format<5, 0, true, false>());
    case DType::q8_0:
      return f(Format<8, 128, false, false>());
    case DType::q4_k:
      return f(Format<4, 0, true, true>());
    case DType::q5_k:
      return f(Format<5, 0, true, true>());
    default:
      return f(Format<6, 32, false, true>());
  }
}

BLIP2_INLINE Vec halves_at(const std::uint8_t* p) {
  VecHalf bits;
  std::memcpy(&bits, p, sizeof(bits));
  return widen_f16(bits);
}

// The scales of one block for `lanes` outs. A halved block has two, others a minimum or none.
struct BlockScales {
  Vec scale, second, minimum;
};

// Those of the block `i` of the ones that share `scales`; the lanes are outs from `out` on.
template <typename F>
BLIP2_INLINE BlockScales scales_at(const std::uint8_t* scales, Int i, Int out) {
  BlockScales s = {};
  s.scale = halves_at(scales + 2 * out);
  if constexpr (F::minimum) s.minimum = halves_at(scales + 32 + 2 * out);
  if constexpr (F::shared && F::minimum) {
    const std::uint8_t* bytes = scales + 64 + i * 32 + out;
    s.scale *= bytes_at<LaneBytes>(bytes);
    s.minimum = -(s.minimum * bytes_at<LaneBytes>(bytes + 16));
  }
  if constexpr (F::halved) {
    const std::uint8_t* bytes = scales + 32 + i * 32 + out;
    s.second = s.scale * bytes_at<SignedLaneBytes>(bytes + 16);
    s.scale *= bytes_at<SignedLaneBytes>(bytes);
  }
  return s;
}

BLIP2_INLINE VecBytes line_at(const std::uint8_t* p) {
  VecBytes bytes;
  std::memcpy(&bytes, p, sizeof(bytes));
  return bytes;
}

// v << n, or >> -n, where bits that pass from one byte to the next are masked off afterwards.
template <int n>
BLIP2_INLINE VecBytes shifted(VecBytes v, std::uint8_t mask) {
  VecUshorts pairs = reinterpret<VecUshorts>(v);
  if constexpr (n > 0) pairs = pairs << n;
  if constexpr (n < 0) pairs = pairs >> -n;
  return reinterpret<VecBytes>(pairs) & mask;
}

struct TwoQuads {
  VecBytes first, second;  // j and j + 4
};

// The codes of quads j and j + 4 of a block.
template <int kBits, int j>
BLIP2_INLINE TwoQuads quads_at(const std::uint8_t* lines) {
  if constexpr (kBits == 8) {
    return {line_at(lines + j * kLineBytes), line_at(lines + (j + 4) * kLineBytes)};
  }
  const VecBytes both = line_at(lines + j * kLineBytes);
  TwoQuads quads{both & std::uint8_t{15}, shifted<-4>(both, 15)};
  if constexpr (kBits == 5) {
    const VecBytes fifth = line_at(lines + 4 * kLineBytes);
    quads.first |= shifted<4 - j>(fifth, 16);
    quads.second |= shifted<-j>(fifth, 16);
  }
  if constexpr (kBits == 6) {
    quads.first |= shifted<4 - 2 * j>(line_at(lines + 4 * kLineBytes), 48);
    quads.second |= shifted<4 - 2 * j>(line_at(lines + 5 * kLineBytes), 48);
  }
  return quads;
}

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

// Adds the products of one block with R rows to their sums.
template <typename F, int R>
BLIP2_INLINE void add_block(const std::uint8_t* lines, const BlockScales& s,
                            const ActivationBlock* x, Vec* sums) {
  using D = Dots<F::bits>;
  typename D::Sum first[R], second[R];
  for (int r = 0; r < R; ++r) {
    first[r] = D::begin(F::halved ? x[r].minus32[0] : start_of<F>(x[r]));
    if constexpr (F::halved || R <= 2) second[r] = D::begin(F::halved ? x[r].minus32[1] : 0);
  }
  const auto step = [&]<int j>() __attribute__((always_inline)) {
    const TwoQuads quads = quads_at<F::bits, j>(lines);
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
    VecInt dots = D::total(first[r]);
    if constexpr (!F::halved && R <= 2) dots += D::total(second[r]);
    sums[r] += as_floats(dots) * (s.scale * x[r].scale);
    if constexpr (F::halved) {
      sums[r] += as_floats(D::total(second[r])) * (s.second * x[r].scale);
    }
    if constexpr (F::minimum) sums[r] += s.minimum * x[r].sum;
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

// A block of a group taken apart: of each out its codes, scales and minimum.
struct OpenBlock {
  std::uint8_t codes[8][kLineBytes];
  float scale[2][kGroupOuts], minimum[kGroupOuts];
};

template <typename F>
BLIP2_INLINE void open_block(const std::uint8_t* lines, const std::uint8_t* scales, Int i,
                             OpenBlock& open) {
  for (Int out = 0; out < kGroupOuts; out += lanes) {
    const auto step = [&]<int j>() __attribute__((always_inline)) {
      const TwoQuads quads = quads_at<F::bits, j>(lines + 4 * out);
      std::memcpy(open.codes[j] + 4 * out, &quads.first, sizeof(VecBytes));
      std::memcpy(open.codes[j + 4] + 4 * out, &quads.second, sizeof(VecBytes));
    };
    step.template operator()<0>();
    step.template operator()<1>();
    step.template operator()<2>();
    step.template operator()<3>();
    const BlockScales s = scales_at<F>(scales, i, out);
    store(open.scale[0] + out, s.scale);
    store(open.scale[1] + out, F::halved ? s.second : s.scale);
    store(open.minimum + out, s.minimum);
  }
}

// The 32 elements of one out.
template <typename T>
BLIP2_INLINE void widen_block(const OpenBlock& open, int zero, Int out, T* y) {
  std::uint8_t codes[kBlockWidth];
  for (int t = 0; t < 8; ++t) std::memcpy(codes + 4 * t, open.codes[t] + 4 * out, 4);
  float values[kBlockWidth];
  for (int e = 0; e < kBlockWidth; ++e) {
    values[e] = static_cast<float>(static_cast<int>(codes[e]) - zero) * open.scale[e / 16][out] +
                open.minimum[out];
  }
  for (Int e = 0; e < kBlockWidth; e += lanes) store(y + e, load(values + e));
}

template <typename F, typename T>
void widen_outs(const BlockMatrixView& weight, Int begin, Int end, T* y) {
  constexpr int zero = F::bits == 8 ? 128 : F::zero;
  const Int blocks = weight.width / kBlockWidth, bytes = group_bytes(weight.type, weight.width);
  for (Int out = begin; out < end;) {
    const Int group = out / kGroupOuts, next = (group + 1) * kGroupOuts;
    const Int last = end < next ? end : next;
    const auto* lines = reinterpret_cast<const std::uint8_t*>(weight.packed) + group * bytes;
    const std::uint8_t* scales = lines + blocks * F::line_bytes;
    for (Int block = 0; block < blocks; ++block, lines += F::line_bytes) {
      OpenBlock open;
      open_block<F>(lines, scales + block / F::blocks * F::scale_bytes, block % F::blocks, open);
      for (Int o = out; o < last; ++o) {
        widen_block(open, zero, o % kGroupOuts,
                    y + (o - begin) * weight.width + block * kBlockWidth);
      }
    }
    out = last;
  }
}

template <typename T>
void widen_blocks(const BlockMatrixView& weight, Int begin, Int end, T* y) {
  with_format(weight.type, [&]<typename F>(F) { widen_outs<F>(weight, begin, end, y); });
}

template <typename T>
constexpr BlockKernels<T> block_table = {
    .quantise = quantise_rows<T>, .multiply = multiply_blocks<T>, .widen = widen_blocks<T>};

}  // namespace
}  // namespace blip2

#pragma once
// Types of blocks: their codes and scales as they lie in a group (block_layout.h); included by the
// kernels_*.cpp only. A register's lanes are outs.
#include "blip2/io/code_tables.h"
#include "blip2/nn/kernels/block_dots_internal.h"
#include "blip2/nn/kernels/block_layout.h"

namespace blip2 {
namespace {

// A type of blocks: kBits of a code; a code's zero; whether there is a minimum; whether eight
// blocks share a scale of their scales; the values that codes stand for, if they are no numbers
// themselves: what is multiplied is then the value plus 128.
template <int kBits, int kZero, bool kMinimum, bool kShared, const std::int8_t* kValues = nullptr>
struct Format {
  static constexpr const std::int8_t* values = kValues;
  static constexpr int bits = kBits, code_bits = kValues ? 8 : kBits;  // as stored, as multiplied
  static constexpr int zero = code_bits == 8 && kSignedBytes ? 0 : kZero;
  static constexpr bool exponents = kValues == kMxfp4Values;  // in place of scales
  static constexpr bool minimum = kMinimum, shared = kShared;
  static constexpr bool halved = kShared && !kMinimum;  // each half of a block has a scale
  static constexpr Int blocks = kShared ? 8 : 1;
  // Of one block: lines, and of those that share: scales.
  static constexpr Int line_bytes = kBits * kLineBytes;
  static constexpr Int scale_bytes = (exponents ? 16 : kMinimum ? 64 : 32) + (kShared ? 8 * 32 : 0);
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
    case DType::iq4_nl:
      return f(Format<4, 128, false, false, kIq4NlValues>());
    case DType::mxfp4:
      return f(Format<4, 128, false, false, kMxfp4Values>());
    default:
      return f(Format<6, 32, false, true>());
  }
}

BLIP2_INLINE Vec halves_at(const std::uint8_t* p) {
  VecHalf bits;
  std::memcpy(&bits, p, sizeof(bits));
  return widen_f16(bits);
}

// 2^(e - 128) of each byte e.
BLIP2_INLINE Vec powers_at(const std::uint8_t* p) {
  const VecBits e =
      reinterpret<VecBits>(VecInt(__builtin_convertvector(bytes_at<LaneBytes>(p), VecInt)));
  const VecBits small = VecBits(VecBits{} + 0x00200000u) << (e & 1u);
  return reinterpret<Vec>(VecBits(e < 2u ? small : (e - 1u) << 23));
}

// The scales of one block for `lanes` outs. A halved block has two, others a minimum or none.
struct BlockScales {
  Vec scale, second, minimum;
};

// Those of the block `i` of the ones that share `scales`; the lanes are outs from `out` on.
template <typename F>
BLIP2_INLINE BlockScales scales_at(const std::uint8_t* scales, Int i, Int out) {
  BlockScales s = {};
  s.scale = F::exponents ? powers_at(scales + out) : halves_at(scales + 2 * out);
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
BLIP2_INLINE TwoQuads stored_quads(const std::uint8_t* lines) {
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

// The same as they are multiplied.
template <typename F, int j>
BLIP2_INLINE TwoQuads quads_at(const std::uint8_t* lines) {
  const TwoQuads quads = stored_quads<F::bits, j>(lines);
  if constexpr (F::values == nullptr) return quads;
  return {lookup(quads.first, F::values), lookup(quads.second, F::values)};
}

}  // namespace
}  // namespace blip2

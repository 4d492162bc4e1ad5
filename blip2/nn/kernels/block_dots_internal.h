#pragma once
// Bytes in lanes, and sums of products of codes with activations; included by
// block_formats_internal.h and what stands before it only. A lane's four codes are multiplied with
// one quad of the activations, which is the same for all lanes. An instruction set may have its own
// (BLIP2_OWN_DOTS, BLIP2_OWN_BYTES, BLIP2_OWN_REDUCTIONS).
#include "blip2/nn/kernels/vec_internal.h"

namespace blip2 {
namespace {

typedef std::uint8_t VecBytes __attribute__((vector_size(4 * BLIP2_LANES)));
typedef std::int16_t VecShorts __attribute__((vector_size(4 * BLIP2_LANES)));
typedef std::uint16_t VecUshorts __attribute__((vector_size(4 * BLIP2_LANES)));

typedef std::uint8_t LaneBytes __attribute__((vector_size(BLIP2_LANES)));
typedef std::int8_t SignedLaneBytes __attribute__((vector_size(BLIP2_LANES)));
using VecQuantised = SignedLaneBytes;  // activations

#ifndef BLIP2_OWN_BYTES
// A byte a lane, LaneBytes or SignedLaneBytes, as floats.
template <typename Bytes>
BLIP2_INLINE Vec bytes_at(const std::uint8_t* p) {
  Bytes bytes;
  std::memcpy(&bytes, p, sizeof(bytes));
  return __builtin_convertvector(__builtin_convertvector(bytes, VecInt), Vec);
}

// values[code] + 128 of each code below 16.
BLIP2_INLINE VecBytes lookup(VecBytes codes, const std::int8_t* values) {
  std::uint8_t bytes[sizeof(VecBytes)];
  std::memcpy(bytes, &codes, sizeof(bytes));
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(values[byte] + 128);
  return reinterpret<VecBytes>(bytes);
}
#endif

BLIP2_INLINE VecInt splat_quad(const std::int8_t* quad) {
  std::int32_t bits;
  std::memcpy(&bits, quad, sizeof(bits));
  return VecInt{} + bits;
}

#ifdef BLIP2_OWN_DOTS
// Codes of kBits bits; eight-bit ones as they lie there, 128 too large, unless kSignedBytes.
template <int kBits>
struct Dots;
#else
constexpr bool kSignedBytes = false;

template <int kBits>
struct Dots {
  struct Codes {
    VecShorts even, odd;  // each code below 2^8
  };
  using Sum = VecInt;
  static BLIP2_INLINE Codes codes(VecBytes bytes) {
    const VecUshorts pairs = reinterpret<VecUshorts>(bytes);
    return {reinterpret<VecShorts>(VecUshorts(pairs & 0xff)),
            reinterpret<VecShorts>(VecUshorts(pairs >> 8))};
  }
  static BLIP2_INLINE Sum begin(std::int32_t start) { return VecInt{} + start; }
  // |255 * 127| fits 16 bits, the sum of two such does not.
  static BLIP2_INLINE Sum add(Sum sum, const Codes& codes, const std::int8_t* quad) {
    const VecShorts x = reinterpret<VecShorts>(splat_quad(quad));
    const VecShorts even =
        VecShorts(reinterpret<VecShorts>(VecUshorts(reinterpret<VecUshorts>(x) << 8)) >> 8);
    const VecInt first = reinterpret<VecInt>(VecShorts(codes.even * even));
    const VecInt second = reinterpret<VecInt>(VecShorts(codes.odd * VecShorts(x >> 8)));
    return sum + low(first) + (first >> 16) + low(second) + (second >> 16);
  }
  static BLIP2_INLINE VecInt total(Sum sum) { return sum; }

 private:
  static BLIP2_INLINE VecInt low(VecInt pair) {
    return reinterpret<VecInt>(VecBits(reinterpret<VecBits>(pair) << 16)) >> 16;
  }
};
#endif

}  // namespace
}  // namespace blip2

#pragma once
// Sums of products of codes with activations by pairs in 16 bits, for instruction sets without
// VNNI; included by kernels_avx2.cpp and kernels_avx512.cpp only, behind their pair_products,
// pair_sums and SignedCodes.
#include "blip2/nn/kernels/block_dots_internal.h"

namespace blip2 {
namespace {

constexpr bool kSignedBytes = true;

// Pairs of products fit 16 bits.
template <int kBits>
struct Dots {
  using Codes = VecBytes;
  using Sum = VecInt;
  static BLIP2_INLINE Codes codes(VecBytes bytes) { return bytes; }
  static BLIP2_INLINE Sum begin(std::int32_t start) { return VecInt{} + start; }
  static BLIP2_INLINE Sum add(Sum sum, Codes codes, const std::int8_t* quad) {
    return sum + pair_sums(pair_products(codes, splat_quad(quad)));
  }
  static BLIP2_INLINE VecInt total(Sum sum) { return sum; }
};

// Pairs of products of a whole block fit 16 bits: 16 * 15 * 127.
template <>
struct Dots<4> {
  using Codes = VecBytes;
  struct Sum {
    VecShorts pairs;
    std::int32_t start;
  };
  static BLIP2_INLINE Codes codes(VecBytes bytes) { return bytes; }
  static BLIP2_INLINE Sum begin(std::int32_t start) { return {VecShorts{}, start}; }
  static BLIP2_INLINE Sum add(Sum sum, Codes codes, const std::int8_t* quad) {
    return {sum.pairs + pair_products(codes, splat_quad(quad)), sum.start};
  }
  static BLIP2_INLINE VecInt total(Sum sum) { return pair_sums(sum.pairs) + sum.start; }
};

// The instruction takes magnitudes of codes, so activations take over their signs.
template <>
struct Dots<8> {
  using Codes = SignedCodes;
  using Sum = VecInt;
  static BLIP2_INLINE Codes codes(VecBytes bytes) {
    return SignedCodes(VecBytes(bytes ^ std::uint8_t{128}));
  }
  static BLIP2_INLINE Sum begin(std::int32_t start) { return VecInt{} + start; }
  static BLIP2_INLINE Sum add(Sum sum, const Codes& codes, const std::int8_t* quad) {
    return sum + pair_sums(pair_products(codes.magnitudes, codes.sign(splat_quad(quad))));
  }
  static BLIP2_INLINE VecInt total(Sum sum) { return sum; }
};

}  // namespace
}  // namespace blip2

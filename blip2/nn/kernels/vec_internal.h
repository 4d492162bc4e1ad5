#pragma once
// BLIP2_LANES floats at a time in the compiler's vector extensions, in the registers that the
// including file's target has. Included only by the kernels_*.cpp, after their target is set;
// everything is local to the file because each is compiled for another instruction set.
#include <cstdint>
#include <cstring>

#include "blip2/nn/kernels/kernels.h"

#define BLIP2_INLINE inline __attribute__((always_inline))

namespace blip2 {
namespace {

using Int = std::int64_t;
constexpr Int lanes = BLIP2_LANES;
typedef float Vec __attribute__((vector_size(4 * BLIP2_LANES)));
typedef std::int32_t VecInt __attribute__((vector_size(4 * BLIP2_LANES)));
typedef std::uint32_t VecBits __attribute__((vector_size(4 * BLIP2_LANES)));
typedef std::uint16_t VecHalf __attribute__((vector_size(2 * BLIP2_LANES)));

template <typename To, typename From>
BLIP2_INLINE To reinterpret(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

BLIP2_INLINE Vec splat(float x) {
  return Vec{} + x;
}

// 0, 1, 2 ...
BLIP2_INLINE VecInt lane_numbers() {
  VecInt numbers = {};
  for (int i = 0; i < BLIP2_LANES; ++i) numbers[i] = i;
  return numbers;
}

// The first `count` lanes of v, `other` in the rest.
BLIP2_INLINE Vec first_of(Vec v, Int count, float other) {
  return lane_numbers() < static_cast<std::int32_t>(count) ? v : splat(other);
}

#ifdef BLIP2_OWN_HALVES
BLIP2_INLINE VecBits widen_bits(VecHalf bits);
BLIP2_INLINE VecHalf narrow_bits(VecBits bits);  // each at most 0xffff
#else
BLIP2_INLINE VecBits widen_bits(VecHalf bits) {
  return __builtin_convertvector(bits, VecBits);
}
BLIP2_INLINE VecHalf narrow_bits(VecBits bits) {
  return __builtin_convertvector(bits, VecHalf);
}
#endif

BLIP2_INLINE Vec widen(VecHalf bits) {
  return reinterpret<Vec>(VecBits(widen_bits(bits) << 16));
}

// Rounds to nearest even; a NaN stays one.
BLIP2_INLINE VecHalf round_to_bf16(Vec x) {
  VecBits bits = reinterpret<VecBits>(x);
  bits = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return narrow_bits(x == x ? bits : VecBits{} + 0x7fc0u);
}

#ifdef BLIP2_OWN_HALVES
BLIP2_INLINE Vec widen_f16(VecHalf bits);
BLIP2_INLINE VecHalf round_to_f16(Vec x);
#else
// Exponents are moved by one multiplication, which makes subnormal numbers right too.
BLIP2_INLINE Vec widen_f16(VecHalf half) {
  const VecBits bits = __builtin_convertvector(half, VecBits), sign = (bits & 0x8000u) << 16;
  const VecBits size = (bits & 0x7fffu) << 13;
  const Vec scaled = reinterpret<Vec>(size) * 0x1p112f;
  const VecBits finite = reinterpret<VecBits>(scaled), special = size | 0x7f800000u;
  return reinterpret<Vec>(((bits & 0x7c00u) == 0x7c00u ? special : finite) | sign);
}

// Rounds to nearest even, to infinity from 65520 on; a NaN stays one.
BLIP2_INLINE VecHalf round_to_f16(Vec x) {
  const VecBits bits = reinterpret<VecBits>(x), sign = (bits >> 16) & 0x8000u;
  const VecBits size = bits & 0x7fffffffu;
  const Vec magnitude = reinterpret<Vec>(size);
  // Adding 0.5 leaves a multiple of 2^-24, the smallest half, in the low bits.
  const VecBits small = reinterpret<VecBits>(magnitude + 0.5f) - 0x3f000000u;
  const VecBits normal = (size - 0x38000000u + 0xfffu + ((size >> 13) & 1u)) >> 13;
  VecBits half = magnitude < 0x1p-14f ? small : normal;
  half = magnitude >= 65520.0f ? VecBits{} + 0x7c00u : half;
  half = x == x ? half : VecBits{} + 0x7e00u;
  return __builtin_convertvector(half | sign, VecHalf);
}
#endif

BLIP2_INLINE Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
BLIP2_INLINE Vec load(const Bf16* p) {
  VecHalf v;
  std::memcpy(&v, p, sizeof(v));
  return widen(v);
}
BLIP2_INLINE Vec load(const F16* p) {
  VecHalf v;
  std::memcpy(&v, p, sizeof(v));
  return widen_f16(v);
}
BLIP2_INLINE void store(float* p, Vec v) {
  std::memcpy(p, &v, sizeof(v));
}
BLIP2_INLINE void store(Bf16* p, Vec v) {
  const VecHalf h = round_to_bf16(v);
  std::memcpy(p, &h, sizeof(h));
}

BLIP2_INLINE void store(F16* p, Vec v) {
  const VecHalf h = round_to_f16(v);
  std::memcpy(p, &h, sizeof(h));
}

// The first `count` < `lanes` elements; the rest zero.
template <typename T>
BLIP2_INLINE Vec load_part(const T* p, Int count) {
  T part[lanes] = {};
  std::memcpy(part, p, static_cast<std::size_t>(count) * sizeof(T));
  return load(part);
}
template <typename T>
BLIP2_INLINE void store_part(T* p, Vec v, Int count) {
  T part[lanes];
  store(part, v);
  std::memcpy(p, part, static_cast<std::size_t>(count) * sizeof(T));
}

// Calls body(offset, read, write) over `count` elements, a vector at a time; read(p) and write(p,
// v) touch only what is there.
template <typename Body>
BLIP2_INLINE void for_each_vec(Int count, const Body& body) {
  Int i = 0;
  for (; i + lanes <= count; i += lanes) {
    body(
        i, [](const auto* p) { return load(p); }, [](auto* p, Vec v) { store(p, v); });
  }
  if (i < count) {
    const Int rest = count - i;
    body(
        i, [rest](const auto* p) { return load_part(p, rest); },
        [rest](auto* p, Vec v) { store_part(p, v, rest); });
  }
}

}  // namespace
}  // namespace blip2

#pragma once
// Sums and the like over the lanes of vec_internal.h's vectors, each in one order; included by the
// kernels_*.cpp only. An instruction set may have its own (BLIP2_OWN_SUM4, BLIP2_OWN_WIDE_SUM4).
#include "blip2/nn/kernels/vec_internal.h"

namespace blip2 {
namespace {

// The lanes of v, lane i from lane i + by.
template <int by, typename V, int... i>
BLIP2_INLINE V turned(V v, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(v, v, ((i + by) % BLIP2_LANES)...);
}

// All lanes put together by `join`, in every lane; the same order for every vector.
template <int half = BLIP2_LANES / 2, typename V, typename Join>
BLIP2_INLINE V joined(V v, const Join& join) {
  const V both = join(v, turned<half>(v, std::make_integer_sequence<int, BLIP2_LANES>()));
  if constexpr (half > 1) return joined<half / 2>(both, join);
  return both;
}

BLIP2_INLINE float sum(Vec v) {
  return joined(
      v, [](Vec a, Vec b) __attribute__((always_inline)) { return a + b; })[0];
}

// A sum of many terms as sixteen partial sums, that of term i in number i % 16, which are added in
// one order: whatever the registers hold, its bits are the same on every instruction set that
// rounds a product and its sum together.
struct WideSum {
  static constexpr Int vecs = 16 / lanes;
  Vec parts[vecs] = {};
};

BLIP2_INLINE float sum(const WideSum& v) {
  Vec parts[WideSum::vecs];
  std::memcpy(parts, v.parts, sizeof(parts));
  for (Int half = WideSum::vecs / 2; half > 0; half /= 2) {
    for (Int i = 0; i < half; ++i) parts[i] += parts[i + half];
  }
  return sum(parts[0]);
}

// Calls body(offset, part, read, keep) over `count` terms, a vector at a time, for WideSum's
// `part`. read(p) gives zeros behind the end; keep(v) makes v zero there.
template <typename Body>
BLIP2_INLINE void for_each_term(Int count, const Body& body) {
  const auto read = [](const auto* p) __attribute__((always_inline)) {
    return load(p);
  };
  const auto keep = [](Vec v) __attribute__((always_inline)) {
    return v;
  };
  Int i = 0;
  for (; i + 16 <= count; i += 16) {
    for (Int part = 0; part < WideSum::vecs; ++part) body(i + part * lanes, part, read, keep);
  }
  for (Int part = 0; part < WideSum::vecs; ++part) {
    const Int at = i + part * lanes, rest = count - at;
    if (rest >= lanes) {
      body(at, part, read, keep);
    } else if (rest > 0) {
      body(
          at,
          part, [rest](const auto* p) __attribute__((always_inline)) { return load_part(p, rest); },
          [rest](Vec v) __attribute__((always_inline)) { return first_of(v, rest, 0.0f); });
    }
  }
}

#ifndef BLIP2_OWN_SUM4
// The sums of four vectors.
BLIP2_INLINE void sum4(const Vec* v, float* sums) {
  for (Int i = 0; i < 4; ++i) sums[i] = sum(v[i]);
}
#endif

// The same of four wide sums, all in the order of the sum4 of sixteen lanes.
#ifndef BLIP2_OWN_WIDE_SUM4
BLIP2_INLINE void sum4(const WideSum* v, float* sums) {
  if constexpr (WideSum::vecs == 1) {
    const Vec four[4] = {v[0].parts[0], v[1].parts[0], v[2].parts[0], v[3].parts[0]};
    return sum4(four, sums);
  }
  for (Int o = 0; o < 4; ++o) {
    float x[16], four[4];
    std::memcpy(x, v[o].parts, sizeof(x));
    for (Int i = 0; i < 4; ++i) four[i] = (x[4 * i] + x[4 * i + 2]) + (x[4 * i + 1] + x[4 * i + 3]);
    sums[o] = (four[0] + four[2]) + (four[1] + four[3]);
  }
}
#else
BLIP2_INLINE void sum4(const WideSum* v, float* sums);
#endif

}  // namespace
}  // namespace blip2

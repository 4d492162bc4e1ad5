#pragma once
// Sums, exponentials and what is made of them, on the vectors of vec_internal.h; included by the
// kernels_*.cpp only.
#include "blip2/nn/kernels/vec_internal.h"

namespace blip2 {
namespace {

// `count` up to the next multiple of `lanes`.
BLIP2_INLINE Int padded(Int count) {
  return (count + lanes - 1) / lanes * lanes;
}

// Lane i holds lane i + kDistance of v, as far as there is one.
template <int kDistance, int... kLane>
BLIP2_INLINE Vec moved_down(Vec v, std::integer_sequence<int, kLane...>) {
  return __builtin_shufflevector(v, v, ((kLane + kDistance) % BLIP2_LANES)...);
}

// join(upper half, lower half) until one lane is left: the same order for every vector.
template <int kHalf = BLIP2_LANES / 2, typename Join>
BLIP2_INLINE float fold(Vec v, const Join& join) {
  if constexpr (kHalf == 0) {
    return v[0];
  } else {
    const Vec upper = moved_down<kHalf>(v, std::make_integer_sequence<int, BLIP2_LANES>{});
    return fold<kHalf / 2>(join(v, upper), join);
  }
}

BLIP2_INLINE float sum(Vec v) {
  return fold(
      v, [](Vec a, Vec b) __attribute__((always_inline)) { return a + b; });
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

BLIP2_INLINE Vec max(Vec a, Vec b) {
  return a > b ? a : b;
}

BLIP2_INLINE float max(Vec v) {
  return fold(
      v, [](Vec a, Vec b) __attribute__((always_inline)) { return max(a, b); });
}

// exp by Cody-Waite reduction and the polynomial of Cephes' expf: within 2 ulp; 0 below -87.3,
// exp(88.3) above 88.3; a NaN stays one.
BLIP2_INLINE Vec exp(Vec x) {
  Vec within = x > 88.3f ? splat(88.3f) : x;
  within = x < -87.3f ? splat(-87.3f) : within;
  constexpr float round_shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const Vec shifted = within * 1.44269504088896341f + round_shift;
  const Vec n = shifted - round_shift;
  const Vec r = (within - n * 0.693359375f) + n * 2.12194440e-4f;
  Vec p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const VecInt exponent = (__builtin_convertvector(n, VecInt) + 127) << 23;
  return x < -87.3f ? Vec{} : p * reinterpret<Vec>(exponent);
}

// The normal distribution's Phi(x) and density; erf by Abramowitz & Stegun 7.1.26, error 1.5e-7.
struct Normal {
  Vec below, density;
};
BLIP2_INLINE Normal normal(Vec x) {
  const Vec magnitude = max(x, -x) * 0.70710678f;
  const Vec t = 1.0f / (1.0f + 0.3275911f * magnitude);
  const Vec bell = exp(-magnitude * magnitude);
  Vec p = splat(1.061405429f);
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const Vec tail = 0.5f * p * t * bell;
  return {x < 0.0f ? tail : 1.0f - tail, 0.39894228f * bell};
}

struct SoftmaxSums {
  float peak;   // the largest value after scaling
  float total;  // the sum of exp(value - peak)
};

// x[0, count) becomes its softmax after scaling, scale > 0; the rest up to the next multiple of
// `lanes` zero. count > 0.
BLIP2_INLINE SoftmaxSums softmax(float* x, Int count, float scale) {
  const Int whole = padded(count), last = whole - lanes;
  store(x + last, first_of(load(x + last), count - last, -1e30f));
  Vec highest = load(x);
  for (Int j = lanes; j < whole; j += lanes) highest = max(highest, load(x + j));
  const float peak = max(highest);
  WideSum masses;
  for_each_term(
      whole, [&](Int j, Int part, auto, auto) __attribute__((always_inline)) {
        const Vec e = exp((load(x + j) - peak) * scale);
        store(x + j, e);
        masses.parts[part] += e;
      });
  const float total = sum(masses), inverse = 1.0f / total;
  for (Int j = 0; j < whole; j += lanes) store(x + j, load(x + j) * inverse);
  store(x + last, first_of(load(x + last), count - last, 0.0f));
  return {peak * scale, total};
}

}  // namespace
}  // namespace blip2

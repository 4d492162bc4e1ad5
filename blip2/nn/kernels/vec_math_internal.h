#pragma once
// Exponentials and what is made of them, on the vectors of vec_internal.h; included by the
// kernels_*.cpp only.
#include "blip2/nn/kernels/vec_sums_internal.h"

namespace blip2 {
namespace {

// `count` up to the next multiple of `lanes`.
BLIP2_INLINE Int padded(Int count) {
  return (count + lanes - 1) / lanes * lanes;
}

BLIP2_INLINE Vec max(Vec a, Vec b) {
  return a > b ? a : b;
}

BLIP2_INLINE float max(Vec v) {
  return joined(
      v, [](Vec a, Vec b) __attribute__((always_inline)) { return max(a, b); })[0];
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

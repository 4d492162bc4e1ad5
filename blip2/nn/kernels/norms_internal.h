#pragma once
// RMS and layer norms. See kernels.h for what each does; included by the kernels_*.cpp only.
#include "blip2/nn/kernels/vec_math_internal.h"

#include <cmath>

namespace blip2 {
namespace {

BLIP2_INLINE float inverse_rms(const float* x, Int width, float eps) {
  WideSum squares;
  for_each_term(
      width, [&](Int i, Int part, auto read, auto) __attribute__((always_inline)) {
        const Vec v = read(x + i);
        squares.parts[part] += v * v;
      });
  return 1.0f / std::sqrt(sum(squares) / static_cast<float>(width) + eps);
}

template <typename T>
void rms_norm(const float* x, const float* weight, T* y, Int rows, Int width, float eps) {
  for (Int row = 0; row < rows; ++row, x += width, y += width) {
    const float scale = inverse_rms(x, width, eps);
    for_each_vec(width, [&](Int i, auto read, auto write) {
      write(y + i, read(x + i) * scale * read(weight + i));
    });
  }
}

// y = x r w with r = (mean x^2 + eps)^-1/2, so dx = r w dy - x r^3 mean(w dy x).
template <typename T>
void rms_norm_backward(const float* x, const float* weight, const T* dy, float* dx, Int rows,
                       Int width, float eps) {
  for (Int row = 0; row < rows; ++row, x += width, dy += width, dx += width) {
    const float r = inverse_rms(x, width, eps);
    Vec products = {};
    for_each_vec(width, [&](Int i, auto read, auto) {
      products += read(weight + i) * read(dy + i) * read(x + i);
    });
    const float along = r * r * r * sum(products) / static_cast<float>(width);
    for_each_vec(width, [&](Int i, auto read, auto write) {
      const Vec across = read(weight + i) * read(dy + i) * r;
      write(dx + i, read(dx + i) + across - read(x + i) * along);
    });
  }
}

// The mean of x and 1 / its deviation.
struct Moments {
  float mean, inverse;
};
BLIP2_INLINE Moments moments_of(const float* x, Int width, float eps) {
  WideSum total, squares;
  for_each_term(
      width, [&](Int i, Int part, auto read, auto)
                 __attribute__((always_inline)) { total.parts[part] += read(x + i); });
  const float mean = sum(total) / static_cast<float>(width);
  for_each_term(
      width, [&](Int i, Int part, auto read, auto keep) __attribute__((always_inline)) {
        const Vec v = keep(read(x + i) - mean);
        squares.parts[part] += v * v;
      });
  return {mean, 1.0f / std::sqrt(sum(squares) / static_cast<float>(width) + eps)};
}

template <typename T>
BLIP2_INLINE void normalise(const float* x, const Moments& m, const float* weight,
                            const float* bias, T* y, Int width) {
  for_each_vec(width, [&](Int i, auto read, auto write) {
    write(y + i, (read(x + i) - m.mean) * m.inverse * read(weight + i) + read(bias + i));
  });
}

template <typename T>
void layer_norm(const float* x, const float* weight, const float* bias, T* y, Int rows, Int width,
                float eps) {
  for (Int row = 0; row < rows; ++row, x += width, y += width) {
    normalise(x, moments_of(x, width, eps), weight, bias, y, width);
  }
}

// y = z w + b with z = (x - mean) r, so dx = r (g - mean(g) - z mean(g z)) for g = w dy.
template <typename T>
void layer_norm_backward(const float* x, const float* weight, const T* dy, float* dx, Int rows,
                         Int width, float eps) {
  for (Int row = 0; row < rows; ++row, x += width, dy += width, dx += width) {
    const Moments m = moments_of(x, width, eps);
    Vec totals = {}, products = {};
    for_each_vec(width, [&](Int i, auto read, auto) {
      const Vec g = read(weight + i) * read(dy + i);
      totals += g;
      products += g * (read(x + i) - m.mean);
    });
    const float mean = sum(totals) / static_cast<float>(width);
    const float along = sum(products) * m.inverse / static_cast<float>(width);
    for_each_vec(width, [&](Int i, auto read, auto write) {
      const Vec z = (read(x + i) - m.mean) * m.inverse, g = read(weight + i) * read(dy + i);
      write(dx + i, read(dx + i) + (g - mean - z * along) * m.inverse);
    });
  }
}

}  // namespace
}  // namespace blip2

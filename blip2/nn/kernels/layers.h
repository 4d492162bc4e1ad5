#pragma once
// Norms, rotary positions, gated activation. See kernels.h for what each does; included by the
// kernels_*.cpp only.
#include "blip2/nn/kernels/vec.h"

#include <cmath>

namespace blip2 {
namespace {

BLIP2_INLINE float inverse_rms(const float* x, Int width, float eps) {
  Vec squares = {};
  for_each_vec(width, [&](Int i, auto read, auto) {
    const Vec v = read(x + i);
    squares += v * v;
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
  Vec total = {}, squares = {};
  for_each_vec(width, [&](Int i, auto read, auto) { total += read(x + i); });
  const float mean = sum(total) / static_cast<float>(width);
  const Int whole = width / lanes * lanes;
  for (Int i = 0; i < whole; i += lanes) squares += (load(x + i) - mean) * (load(x + i) - mean);
  float variance = sum(squares);
  for (Int i = whole; i < width; ++i) variance += (x[i] - mean) * (x[i] - mean);
  return {mean, 1.0f / std::sqrt(variance / static_cast<float>(width) + eps)};
}

template <typename T>
void layer_norm(const float* x, const float* weight, const float* bias, T* y, Int rows, Int width,
                float eps) {
  for (Int row = 0; row < rows; ++row, x += width, y += width) {
    const Moments m = moments_of(x, width, eps);
    for_each_vec(width, [&](Int i, auto read, auto write) {
      write(y + i, (read(x + i) - m.mean) * m.inverse * read(weight + i) + read(bias + i));
    });
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

template <typename T>
void rope(T* x, const float* cos, const float* sin, Int heads, Int head_dim, float sign) {
  const Int half = head_dim / 2;
  for (Int head = 0; head < heads; ++head, x += head_dim) {
    for_each_vec(half, [&](Int i, auto read, auto write) {
      const Vec a = read(x + i), b = read(x + half + i);
      const Vec c = read(cos + i), s = read(sin + i) * sign;
      write(x + i, a * c - b * s);
      write(x + half + i, b * c + a * s);
    });
  }
}

template <typename T>
void silu_mul(const T* gate_up, T* y, Int rows, Int width) {
  for (Int row = 0; row < rows; ++row, gate_up += 2 * width, y += width) {
    for_each_vec(width, [&](Int i, auto read, auto write) {
      const Vec gate = read(gate_up + i);
      write(y + i, gate / (1.0f + exp(-gate)) * read(gate_up + width + i));
    });
  }
}

template <typename T>
void silu_mul_backward(const T* gate_up, const T* dy, T* dgate_up, Int rows, Int width) {
  for (Int row = 0; row < rows; ++row, gate_up += 2 * width, dgate_up += 2 * width, dy += width) {
    for_each_vec(width, [&](Int i, auto read, auto write) {
      const Vec gate = read(gate_up + i), up = read(gate_up + width + i), d = read(dy + i);
      const Vec sigmoid = 1.0f / (1.0f + exp(-gate));
      write(dgate_up + i, d * up * sigmoid * (1.0f + gate * (1.0f - sigmoid)));
      write(dgate_up + width + i, d * gate * sigmoid);
    });
  }
}

template <typename T>
void relu(const T* x, T* y, Int count) {
  for_each_vec(count, [&](Int i, auto read, auto write) { write(y + i, max(read(x + i), Vec{})); });
}

template <typename T>
void relu_backward(const T* x, const T* dy, T* dx, Int count) {
  for_each_vec(count, [&](Int i, auto read, auto write) {
    write(dx + i, read(x + i) > 0.0f ? read(dy + i) : Vec{});
  });
}

// x (1 + tanh u) / 2 = x sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3).
BLIP2_INLINE Vec gelu_gate(Vec x) {
  const Vec twice = 1.5957691216057308f * x * (1.0f + 0.044715f * x * x);
  return 1.0f / (1.0f + exp(-twice));
}

template <typename T>
void gelu_tanh(const T* x, T* y, Int count) {
  for_each_vec(count, [&](Int i, auto read, auto write) {
    const Vec v = read(x + i);
    write(y + i, v * gelu_gate(v));
  });
}

template <typename T>
void gelu_tanh_backward(const T* x, const T* dy, T* dx, Int count) {
  for_each_vec(count, [&](Int i, auto read, auto write) {
    const Vec v = read(x + i), gate = gelu_gate(v);
    const Vec slope = 1.5957691216057308f * (1.0f + 3.0f * 0.044715f * v * v);
    write(dx + i, read(dy + i) * (gate + v * gate * (1.0f - gate) * slope));
  });
}

template <typename T>
void add_bias(T* y, const float* bias, Int rows, Int width) {
  for (Int row = 0; row < rows; ++row, y += width) {
    for_each_vec(width,
                 [&](Int i, auto read, auto write) { write(y + i, read(y + i) + read(bias + i)); });
  }
}

template <typename T>
void add(const float* x, const T* delta, float* y, Int count) {
  for_each_vec(count,
               [&](Int i, auto read, auto write) { write(y + i, read(x + i) + read(delta + i)); });
}

template <typename T>
void narrow(const float* x, T* y, Int count) {
  for_each_vec(count, [&](Int i, auto read, auto write) { write(y + i, read(x + i)); });
}

template <typename T>
float highest_of(const T* x, Int count) {
  Vec highest = splat(load_part(x, 1)[0]);
  const Int whole = count / lanes * lanes;
  for (Int i = 0; i < whole; i += lanes) highest = max(highest, load(x + i));
  float peak = max(highest);
  for (Int i = whole; i < count; ++i) {
    const float value = load_part(x + i, 1)[0];
    peak = value > peak ? value : peak;
  }
  return peak;
}

// The sum of exp(x - peak).
template <typename T>
float mass_of(const T* x, Int count, float peak) {
  const Int whole = count / lanes * lanes;
  Vec total = {};
  for (Int i = 0; i < whole; i += lanes) total += exp(load(x + i) - peak);
  float mass = sum(total);
  for (Int i = whole; i < count; ++i) mass += exp(load_part(x + i, 1) - peak)[0];
  return mass;
}

template <typename T>
float log_sum_exp(const T* x, Int count) {
  const float peak = highest_of(x, count);
  return std::log(mass_of(x, count, peak)) + peak;
}

template <typename T>
float cross_entropy(T* logits, Int count, Int target) {
  const float peak = highest_of(logits, count), mass = mass_of(logits, count, peak);
  const float inverse = 1.0f / mass, wanted = load_part(logits + target, 1)[0];
  for_each_vec(count, [&](Int i, auto read, auto write) {
    write(logits + i, exp(read(logits + i) - peak) * inverse);
  });
  store_part(logits + target, splat(std::exp(wanted - peak) * inverse - 1.0f), 1);
  return std::log(mass) + peak - wanted;
}

}  // namespace
}  // namespace blip2

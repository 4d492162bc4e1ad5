#pragma once
// Rotary positions and activations. See kernels.h for what each does; included by the
// kernels_*.cpp only.
#include "blip2/nn/kernels/vec_math_internal.h"

namespace blip2 {
namespace {

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

// The derivative of x gelu_gate(x).
BLIP2_INLINE Vec gelu_slope(Vec x) {
  const Vec gate = gelu_gate(x);
  const Vec slope = 1.5957691216057308f * (1.0f + 3.0f * 0.044715f * x * x);
  return gate + x * gate * (1.0f - gate) * slope;
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
    write(dx + i, read(dy + i) * gelu_slope(read(x + i)));
  });
}

template <typename T>
void gelu_mul(const T* gate_up, T* y, Int rows, Int width) {
  for (Int row = 0; row < rows; ++row, gate_up += 2 * width, y += width) {
    for_each_vec(width, [&](Int i, auto read, auto write) {
      const Vec gate = read(gate_up + i);
      write(y + i, gate * gelu_gate(gate) * read(gate_up + width + i));
    });
  }
}

template <typename T>
void gelu_mul_backward(const T* gate_up, const T* dy, T* dgate_up, Int rows, Int width) {
  for (Int row = 0; row < rows; ++row, gate_up += 2 * width, dgate_up += 2 * width, dy += width) {
    for_each_vec(width, [&](Int i, auto read, auto write) {
      const Vec gate = read(gate_up + i), up = read(gate_up + width + i), d = read(dy + i);
      write(dgate_up + i, d * up * gelu_slope(gate));
      write(dgate_up + width + i, d * gate * gelu_gate(gate));
    });
  }
}

template <typename T>
void quick_gelu(const T* x, T* y, Int count) {
  for_each_vec(count, [&](Int i, auto read, auto write) {
    const Vec v = read(x + i);
    write(y + i, v / (1.0f + exp(-1.702f * v)));
  });
}

template <typename T>
void gelu(const T* x, const float* bias, T* y, Int width, Int begin, Int end) {
  for (Int row = begin; row < end; ++row) {
    const T* in = x + row * width;
    T* out = y + row * width;
    for_each_vec(width, [&](Int i, auto read, auto write) {
      const Vec v = read(in + i) + read(bias + i);
      write(out + i, v * normal(v).below);
    });
  }
}

template <typename T>
void gelu_backward(const T* x, const float* bias, const T* dy, T* dx, float* dbias, Int width,
                   Int begin, Int end) {
  for (Int row = begin; row < end; ++row) {
    const T *in = x + row * width, *from = dy + row * width;
    T* out = dx + row * width;
    for_each_vec(width, [&](Int i, auto read, auto write) {
      const Vec v = read(in + i) + read(bias + i);
      const Normal at = normal(v);
      const Vec gradient = read(from + i) * (at.below + v * at.density);
      write(dbias + i, read(dbias + i) + gradient);
      write(out + i, gradient);
    });
  }
}

}  // namespace
}  // namespace blip2

#pragma once

#include "blip2/language/decoder_weights.h"
#include "blip2/nn/kernels/kernels.h"

namespace blip2 {

// What a decoder does to each row by itself, as its configuration asks: rows lie one after another.

// y = the norm of x.
template <typename T>
void norm_rows(const float* x, const DecoderNorm& norm, T* y, std::int64_t rows, std::int64_t width,
               float eps) {
  const float* weight = norm.weight_f32.const_data_ptr<float>();
  if (norm.bias_f32.defined()) {
    kernels<T>().layer_norm(x, weight, norm.bias_f32.const_data_ptr<float>(), y, rows, width, eps);
  } else {
    kernels<T>().rms_norm(x, weight, y, rows, width, eps);
  }
}

// dx += the gradient of the norm at x.
template <typename T>
void norm_rows_backward(const float* x, const DecoderNorm& norm, const T* dy, float* dx,
                        std::int64_t rows, std::int64_t width, float eps) {
  const float* weight = norm.weight_f32.const_data_ptr<float>();
  const auto& k = kernels<T>();
  (norm.bias_f32.defined() ? k.layer_norm_backward : k.rms_norm_backward)(x, weight, dy, dx, rows,
                                                                          width, eps);
}

// The feed-forward's activation: up [rows, up_width] -> y [rows, intermediate_size].
template <typename T>
void activate(const DecoderConfig& c, const T* up, T* y, std::int64_t rows) {
  const auto& k = kernels<T>();
  if (!c.classic()) return k.silu_mul(up, y, rows, c.intermediate_size);
  (c.family == DecoderFamily::opt ? k.relu : k.gelu_tanh)(up, y, rows * c.intermediate_size);
}

template <typename T>
void activate_backward(const DecoderConfig& c, const T* up, const T* dy, T* dup,
                       std::int64_t rows) {
  const auto& k = kernels<T>();
  if (!c.classic()) return k.silu_mul_backward(up, dy, dup, rows, c.intermediate_size);
  const std::int64_t count = rows * c.intermediate_size;
  (c.family == DecoderFamily::opt ? k.relu_backward : k.gelu_tanh_backward)(up, dy, dup, count);
}

}  // namespace blip2

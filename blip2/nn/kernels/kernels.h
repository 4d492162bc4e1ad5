#pragma once

#include <cstdint>

namespace blip2 {

// A bfloat16 as it lies in memory.
struct Bf16 {
  std::uint16_t bits;
};

// An IEEE half-precision number as it lies in memory.
struct F16 {
  std::uint16_t bits;
};

// Where a linear kernel puts its f32 sums.
enum class Store { value, value_f32, add_f32 };  // y = sum as T; y = sum as f32; y += sum (f32)

// One sequence's queries for the heads that share one key/value head. Query i stands at position
// `start` + i and sees keys 0 .. `start` + i.
struct AttentionShape {
  std::int64_t start, queries;   // keys: start + queries
  std::int64_t group, head_dim;  // query heads per key/value head, adjacent in memory
  std::int64_t query_stride, key_stride, out_stride;  // elements from one token to the next
  float scale;
};

// The inner loops of transformer layers for one element type: T is float, Bf16 or F16; sums, norms
// and exponentials are f32. A row's result depends on that row alone, never on how many rows a call
// has or on which thread runs it. All matrices are row-major; the caller shares work out by
// calling them on parts.
template <typename T>
struct Kernels {
  // y[rows, width] = x / rms(x) * weight
  void (*rms_norm)(const float* x, const float* weight, T* y, std::int64_t rows, std::int64_t width,
                   float eps);
  // dx += gradient of rms_norm at x for the output's gradient dy
  void (*rms_norm_backward)(const float* x, const float* weight, const T* dy, float* dx,
                            std::int64_t rows, std::int64_t width, float eps);
  // y[rows, width] = (x - mean) / deviation * weight + bias
  void (*layer_norm)(const float* x, const float* weight, const float* bias, T* y,
                     std::int64_t rows, std::int64_t width, float eps);
  // dx += gradient of layer_norm at x for the output's gradient dy
  void (*layer_norm_backward)(const float* x, const float* weight, const T* dy, float* dx,
                              std::int64_t rows, std::int64_t width, float eps);
  // Rotates `heads` adjacent heads of one token in place, halves paired as Hugging Face does it.
  // cos, sin: [head_dim / 2]; negated sin undoes it.
  void (*rope)(T* x, const float* cos, const float* sin, std::int64_t heads, std::int64_t head_dim,
               float sign);
  // y[rows, width] = silu(gate) * up, gate_up[rows, 2 * width] holding gate then up
  void (*silu_mul)(const T* gate_up, T* y, std::int64_t rows, std::int64_t width);
  void (*silu_mul_backward)(const T* gate_up, const T* dy, T* dgate_up, std::int64_t rows,
                            std::int64_t width);
  void (*relu)(const T* x, T* y, std::int64_t count);
  void (*relu_backward)(const T* x, const T* dy, T* dx, std::int64_t count);
  // GELU by its tanh approximation ("gelu_new").
  void (*gelu_tanh)(const T* x, T* y, std::int64_t count);
  void (*gelu_tanh_backward)(const T* x, const T* dy, T* dx, std::int64_t count);
  // y[rows, width] += bias[width] in each row
  void (*add_bias)(T* y, const float* bias, std::int64_t rows, std::int64_t width);
  // y = x + delta; y may be x.
  void (*add)(const float* x, const T* delta, float* y, std::int64_t count);
  void (*narrow)(const float* x, T* y, std::int64_t count);  // y = x as T
  // The cross-entropy of softmax(logits) at `target`; logits become its gradient.
  float (*cross_entropy)(T* logits, std::int64_t count, std::int64_t target);
  float (*log_sum_exp)(const T* x, std::int64_t count);  // -infinity counts as nothing
  // Causal softmax attention. scratch: attention_scratch(shape) floats.
  void (*attention)(const T* q, const T* k, const T* v, T* out, const AttentionShape& shape,
                    float* scratch);
  // Its gradient for shape.start == 0; dq, dk and dv lie as q, k and v do and are overwritten.
  void (*attention_backward)(const T* q, const T* k, const T* v, const T* dout, T* dq, T* dk, T* dv,
                             const AttentionShape& shape, float* scratch);
  // y[rows, outs] = x[rows, width] weight[outs, width]^T, for the outs [begin, end). y is indexed
  // by out and has `y_stride` elements a row; x rows lie one after another.
  void (*linear)(const T* x, std::int64_t rows, std::int64_t width, const T* weight,
                 std::int64_t begin, std::int64_t end, Store store, void* y, std::int64_t y_stride);
};

// The kernels for this machine, chosen once: AVX-512 with BF16 (with AMX's tiles if it has them),
// AVX2 with FMA, or plain. BLIP2_KERNELS=avx512, avx2 or plain asks for less than the machine has.
template <typename T>
const Kernels<T>& kernels();
const char* kernels_name();

std::int64_t attention_scratch(const AttentionShape& shape);  // in floats, backward included

}  // namespace blip2

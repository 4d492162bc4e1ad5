#pragma once

#include <cstdint>

#include "blip2/nn/kernels/arguments.h"

namespace blip2 {

// The inner loops of transformer layers for one element type: T is float, Bf16 or F16; sums,
// statistics and exponentials are f32. All matrices are row-major. A kernel handles the rows,
// columns, heads or chunks that it is told to and starts no threads: the caller shares the work
// out, any number of threads may call at once, and results do not depend on how many do. A row's
// result depends on that row alone, never on how many rows a call has.
template <typename T>
struct Kernels {
  using Int = std::int64_t;

  // y[rows, width] = x / rms(x) * weight
  void (*rms_norm)(const float* x, const float* weight, T* y, Int rows, Int width, float eps);
  // dx += gradient of rms_norm at x for the output's gradient dy
  void (*rms_norm_backward)(const float* x, const float* weight, const T* dy, float* dx, Int rows,
                            Int width, float eps);
  // y[rows, width] = (x - mean) / deviation * weight + bias
  void (*layer_norm)(const float* x, const float* weight, const float* bias, T* y, Int rows,
                     Int width, float eps);
  // dx += gradient of layer_norm at x for the output's gradient dy
  void (*layer_norm_backward)(const float* x, const float* weight, const T* dy, float* dx, Int rows,
                              Int width, float eps);
  // Over the rows [begin, end). The backward pass adds to the sums over rows.
  void (*add_norm)(const AddNorm<T>&, Int begin, Int end);
  void (*add_norm_backward)(const AddNormGradient<T>&, Int begin, Int end);

  // Rotates `heads` adjacent heads of one token in place, halves paired as Hugging Face does it.
  // cos, sin: [head_dim / 2]; negated sin undoes it.
  void (*rope)(T* x, const float* cos, const float* sin, Int heads, Int head_dim, float sign);

  // y[rows, width] = silu(gate) * up, gate_up[rows, 2 * width] holding gate then up
  void (*silu_mul)(const T* gate_up, T* y, Int rows, Int width);
  void (*silu_mul_backward)(const T* gate_up, const T* dy, T* dgate_up, Int rows, Int width);
  // The same with gelu(gate), by its tanh approximation.
  void (*gelu_mul)(const T* gate_up, T* y, Int rows, Int width);
  void (*gelu_mul_backward)(const T* gate_up, const T* dy, T* dgate_up, Int rows, Int width);
  void (*relu)(const T* x, T* y, Int count);
  void (*relu_backward)(const T* x, const T* dy, T* dx, Int count);
  // GELU by its tanh approximation ("gelu_new").
  void (*gelu_tanh)(const T* x, T* y, Int count);
  void (*gelu_tanh_backward)(const T* x, const T* dy, T* dx, Int count);
  void (*quick_gelu)(const T* x, T* y, Int count);  // CLIP's x sigmoid(1.702 x)
  // y = gelu(x + bias) by the error function, rows [begin, end); y may be x.
  void (*gelu)(const T* x, const float* bias, T* y, Int width, Int begin, Int end);
  // dx for the gradient dy of y; adds its column sums to dbias[width].
  void (*gelu_backward)(const T* x, const float* bias, const T* dy, T* dx, float* dbias, Int width,
                        Int begin, Int end);

  // y[rows, width] += bias[width] in each row
  void (*add_bias)(T* y, const float* bias, Int rows, Int width);
  // y = x + delta; y may be x.
  void (*add)(const float* x, const T* delta, float* y, Int count);
  void (*narrow)(const float* x, T* y, Int count);  // y = x as T, to nearest even; a NaN stays one
  // Adds the sums of columns [begin, end) over `rows` rows to sums.
  void (*column_sums)(const T* matrix, float* sums, Int rows, Int width, Int begin, Int end);
  // y[i] = sum of rows from[starts[i]] .. from[starts[i + 1] - 1] of x, for i in [begin, end)
  void (*sum_rows)(const T* x, T* y, const std::int32_t* starts, const std::int32_t* from,
                   Int width, Int begin, Int end);

  // The cross-entropy of softmax(logits) at `target`; logits become its gradient.
  float (*cross_entropy)(T* logits, Int count, Int target);
  // With smoothed targets, of logits + bias (bias may be null); the logits become the gradient
  // times gradient_scale unless that is 0.
  RowLoss (*smoothed_cross_entropy)(T* logits, const float* bias, Int count, Int target,
                                    float smoothing, float gradient_scale);
  float (*log_sum_exp)(const T* x, Int count);  // -infinity counts as nothing

  // Causal softmax attention. scratch: attention_scratch(shape) floats.
  void (*attention)(const T* q, const T* k, const T* v, T* out, const AttentionShape& shape,
                    float* scratch);
  // Its gradient for shape.start == 0; dq, dk and dv lie as q, k and v do and are overwritten.
  void (*attention_backward)(const T* q, const T* k, const T* v, const T* dout, T* dq, T* dk, T* dv,
                             const AttentionShape& shape, float* scratch);
  // Softmax attention of one token over the keys of a cache: how they are shared out between the
  // two lists does not change a bit. scratch: token_attention_scratch(keys, head_dim) floats.
  void (*attend_token)(const TokenAttention<T>&, float* scratch);
  // Softmax attention of the heads [begin, end), every row over all rows.
  void (*attend_all)(const DenseAttention<T>&, Int begin, Int end);
  // Softmax attention of one head over segments, and its gradient.
  void (*attend)(const SegmentAttention<T>&, Int head);
  void (*attend_backward)(const SegmentAttentionGradient<T>&, Int head);

  // y[rows, outs] = x[rows, width] weight[outs, width]^T, for the outs [begin, end). y is indexed
  // by out and has `y_stride` elements a row; x rows lie one after another.
  void (*linear)(const T* x, Int rows, Int width, const T* weight, Int begin, Int end, Store store,
                 void* y, Int y_stride);
};

// The kernels for this machine, chosen once: the most that its processor has of "plain", "avx2",
// "avx512", "avx512-bf16" and "amx". BLIP2_KERNELS names the most to use of these. Error at the
// first call if it names none of them.
template <typename T>
const Kernels<T>& kernels();
// The name of what was chosen.
const char* kernels_name();

std::int64_t attention_scratch(const AttentionShape& shape);  // in floats, backward included
std::int64_t attention_tokens(const AttentionShape& shape);   // whose queries it multiplies at once
std::int64_t token_attention_scratch(std::int64_t keys, std::int64_t head_dim);  // in floats

}  // namespace blip2

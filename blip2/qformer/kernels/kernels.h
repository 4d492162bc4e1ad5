#pragma once

#include <cstdint>

// Row kernels of the Q-Former on plain memory, without torch: each handles the rows, chunks or
// heads that it is told to, so that the caller chooses the threads and results do not depend on
// their number. T is float or bf16; sums, exponentials and statistics are f32.
namespace blip2::kernels {

struct bf16 {
  std::uint16_t bits;
};

// A block of query rows and the keys that it sees: `a` rows (of the external keys if `external`),
// then `b` rows. With `causal`, query i sees b rows 0..i. Results go to rows from o_begin.
// Neighbours with the same keys share the work of loading them.
struct Segment {
  std::int32_t q_begin, q_count, o_begin, a_begin, a_count, b_begin, b_count;
  bool causal, external;

  bool same_keys(const Segment& other) const {
    return a_begin == other.a_begin && a_count == other.a_count && b_begin == other.b_begin &&
           b_count == other.b_count && external == other.external;
  }
};

// Row r of a matrix is at data + r * stride; head h's columns begin at h * head_size.
template <typename T>
struct Attention {
  const T *q, *k, *v, *external_k, *external_v;
  std::int64_t q_stride, kv_stride, external_stride;
  const Segment* segments;
  std::int64_t segment_count, heads, head_size, out_rows;
  float scale, dropout;
  std::uint64_t seed;
  T* out;            // [out_rows, heads * head_size]
  float* log_total;  // [heads, out_rows] log of the softmax's denominator
};

// Gradients of one head's columns are written, summed over segments in f32. Rows of the gradients
// are all rows of the matrices; strides are the gradients' own.
template <typename T>
struct AttentionGradient {
  Attention<T> forward;
  const T* out_gradient;
  T *q, *k, *v, *external_k, *external_v;
  std::int64_t q_stride, kv_stride, external_stride;
  std::int64_t q_rows, kv_rows, external_rows;
};

// y = LayerNorm(dropout(a + bias) + x[source]); `a` is replaced by the sum.
template <typename T>
struct AddNorm {
  T* a;
  const T* x;
  const std::int32_t* source;  // null: row i of x for row i
  const float *bias, *weight, *offset;
  T* y;
  float *mean, *scale;  // [rows] of the LayerNorm: mean and 1 / standard deviation
  std::int64_t width;
  float eps, dropout;
  std::uint64_t seed;
};

template <typename T>
struct AddNormGradient {
  const T *sum, *y_gradient;
  const float *mean, *scale, *weight;
  T *sum_gradient, *a_gradient;  // a_gradient: null without dropout, where it equals the sum's
  float *bias, *weight_gradient, *offset;  // [width] of this chunk
  std::int64_t width;
  float dropout;
  std::uint64_t seed;
};

// What one row of logits tells about its target.
struct RowLoss {
  float loss;
  bool best;  // no other logit is larger
};

template <typename T>
struct Table {
  void (*attend)(const Attention<T>&, std::int64_t head);
  void (*attend_backward)(const AttentionGradient<T>&, std::int64_t head);
  void (*add_norm)(const AddNorm<T>&, std::int64_t begin, std::int64_t end);
  void (*add_norm_backward)(const AddNormGradient<T>&, std::int64_t begin, std::int64_t end);
  // out = gelu(u + bias), erf form.
  void (*gelu)(const T* u, const float* bias, T* out, std::int64_t width, std::int64_t begin,
               std::int64_t end);
  // u_gradient from the gradient of out; adds its column sums to bias_gradient [width].
  void (*gelu_backward)(const T* u, const float* bias, const T* gradient, T* u_gradient,
                        float* bias_gradient, std::int64_t width, std::int64_t begin,
                        std::int64_t end);
  // Adds the sums of columns [begin, end) over `rows` rows to sums.
  void (*column_sums)(const T* matrix, float* sums, std::int64_t rows, std::int64_t width,
                      std::int64_t begin, std::int64_t end);
  // out[i] = sum of rows from[starts[i]] .. from[starts[i + 1] - 1] of `in`.
  void (*sum_rows)(const T* in, T* out, const std::int32_t* starts, const std::int32_t* from,
                   std::int64_t width, std::int64_t begin, std::int64_t end);
  // Smoothed cross-entropy of logits + bias (bias may be null); replaces the logits by the loss's
  // gradient times gradient_scale unless that is 0.
  RowLoss (*cross_entropy)(T* logits, const float* bias, std::int64_t vocabulary,
                           std::int64_t target, float smoothing, float gradient_scale);
  void (*to_float)(const T* in, float* out, std::int64_t count);
  void (*from_float)(const float* in, T* out, std::int64_t count);
};

// The kernels for this machine's instruction set: AVX-512, AVX2 or plain.
template <typename T>
const Table<T>& table();
// "avx512", "avx2" or "plain": what table() chose. BLIP2_SIMD names another one, for tests.
const char* instruction_set();

}  // namespace blip2::kernels

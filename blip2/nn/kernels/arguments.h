#pragma once

#include <cstdint>

// Element types and arguments of the kernels (kernels.h), on plain memory without LibTorch.
namespace blip2 {

// A bfloat16 as it lies in memory.
struct Bf16 {
  std::uint16_t bits;
};

// An IEEE half-precision number as it lies in memory.
struct F16 {
  std::uint16_t bits;
};

// How a linear kernel stores its f32 sums.
enum class Store { value, value_f32, add_f32 };  // y = sum as T; y = sum as f32; y += sum (f32)

// One sequence's queries for the heads that share one key/value head. Query i stands at position
// `start` + i and sees keys 0 .. `start` + i, or the last `window` of them.
struct AttentionShape {
  std::int64_t start, queries;   // keys: start + queries
  std::int64_t group, head_dim;  // query heads per key/value head, adjacent in memory
  std::int64_t query_stride, key_stride, out_stride;  // elements from one token to the next
  float scale;
  std::int64_t window = 0;  // 0: all keys are seen
};

// Keys and values [count, head_dim] of one head, as a cache has them.
template <typename T>
struct CachedKeys {
  const T *keys, *values;
  std::int64_t count;
};

// One token's queries for the heads that share one key/value head: q and out [group, head_dim]. It
// sees the keys of all `count` lists, which stand in the order of their tokens.
template <typename T>
struct TokenAttention {
  const T* q;
  T* out;
  std::int64_t group, head_dim;
  const CachedKeys<T>* lists;
  std::int64_t count;
  float scale;
};

// Attention of heads whose rows see each other, all of them. Row r of q, k and v is at data + r *
// stride, of out at data + r * out_stride; head h's columns begin at h * head_size.
template <typename T>
struct DenseAttention {
  const T *q, *k, *v;
  T* out;
  std::int64_t rows, head_size, stride, out_stride;
  float scale;
};

// A block of query rows and the keys that it sees: `a` rows (of the external keys if `external`),
// then `b` rows; at least one key. With `causal`, query i sees b rows 0..i. Results go to rows from
// o_begin. Neighbours with the same keys share the work of loading them.
struct AttentionSegment {
  std::int32_t q_begin, q_count, o_begin, a_begin, a_count, b_begin, b_count;
  bool causal, external;

  bool same_keys(const AttentionSegment& other) const {
    return a_begin == other.a_begin && a_count == other.a_count && b_begin == other.b_begin &&
           b_count == other.b_count && external == other.external;
  }
};

// Attention over segments. Row r of a matrix is at data + r * stride; head h's columns begin at
// h * head_size.
template <typename T>
struct SegmentAttention {
  const T *q, *k, *v, *external_k, *external_v;
  std::int64_t q_stride, kv_stride, external_stride;
  const AttentionSegment* segments;
  std::int64_t segment_count, heads, head_size, out_rows;
  float scale, dropout;
  std::uint64_t seed;
  T* out;            // [out_rows, heads * head_size]
  float* log_total;  // [heads, out_rows] log of the softmax's denominator
};

// Gradients of one head's columns are written, summed over segments in f32. Rows of the gradients
// are all rows of the matrices; strides are the gradients' own.
template <typename T>
struct SegmentAttentionGradient {
  SegmentAttention<T> forward;
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

// The results of one row of logits and its target.
struct RowLoss {
  float loss;
  bool best;  // no other logit is larger
};

}  // namespace blip2

#pragma once
// The gradient of causal_attention_internal.h; included by the kernels_*.cpp only.
#include "blip2/nn/kernels/causal_attention_internal.h"

namespace blip2 {
namespace {

// Of probabilities p, their gradient dp becomes that of the products: p (dp - p dp) scale, which is
// zero where p is.
BLIP2_INLINE void softmax_backward(const float* p, float* dp, Int columns, float scale) {
  Vec products = {};
  for (Int j = 0; j < columns; j += lanes) products += load(p + j) * load(dp + j);
  const float mean = sum(products);
  for (Int j = 0; j < columns; j += lanes) {
    store(dp + j, load(p + j) * (load(dp + j) - mean) * scale);
  }
}

// sums[low .. low + keys, dim] += weights[rows, columns]^T values[rows, dim]
BLIP2_INLINE void add_turned_product(const CausalScratch& s, const QueryBlock& b,
                                     const float* weights, const float* values, float* sums) {
  multiply({weights, 1, b.columns}, {values, s.dim}, s.part, s.dim, b.keys, s.dim, b.rows);
  float* const to = sums + b.low * s.dim;
  for (Int i = 0; i < b.keys * s.dim; i += lanes) store(to + i, load(to + i) + load(s.part + i));
}

// With p = softmax(scale q k) and o = p v: dv = p^T do, ds = p (do v - do o) scale, dq = ds k,
// dk = ds^T q.
template <typename T>
void attention_backward(const T* q, const T* k, const T* v, const T* dout, T* dq, T* dk, T* dv,
                        const AttentionShape& shape, float* scratch) {
  const CausalScratch s(shape, scratch);
  const Int total = shape.queries, dim = shape.head_dim;
  transpose(k, shape.key_stride, total, dim, s.key_columns, s.keys);
  transpose(v, shape.key_stride, total, dim, s.value_columns, s.keys);
  widen_rows(k, shape.key_stride, total, dim, s.key_rows, s.dim);
  std::memset(s.dkeys, 0, sizeof(float) * static_cast<std::size_t>(2 * s.keys * s.dim));
  for (Int first = 0; first < total; first += s.tokens) {
    const QueryBlock b(shape, first, s.tokens);
    widen_block(shape, b, q, shape.query_stride, s.query, s.dim);
    widen_block(shape, b, dout, shape.out_stride, s.dout, s.dim);
    multiply({s.query, s.dim, 1}, {s.key_columns + b.low, s.keys}, s.scores, b.columns, b.rows,
             b.columns, dim);
    multiply({s.dout, s.dim, 1}, {s.value_columns + b.low, s.keys}, s.dscores, b.columns, b.rows,
             b.columns, dim);
    for (Int row = 0; row < b.rows; ++row) {
      float *const p = s.scores + row * b.columns, *const dp = s.dscores + row * b.columns;
      softmax_seen(p, shape, b, row);
      softmax_backward(p, dp, b.columns, shape.scale);
    }
    multiply({s.dscores, b.columns, 1}, {s.key_rows + b.low * s.dim, s.dim}, s.result, s.dim,
             b.rows, s.dim, b.keys);
    write_block(shape, b, s.result, s.dim, dq, shape.query_stride);
    add_turned_product(s, b, s.dscores, s.query, s.dkeys);
    add_turned_product(s, b, s.scores, s.dout, s.dvalues);
  }
  for (Int j = 0; j < total; ++j) {
    write_row(dk + j * shape.key_stride, s.dkeys + j * s.dim, dim);
    write_row(dv + j * shape.key_stride, s.dvalues + j * s.dim, dim);
  }
}

}  // namespace
}  // namespace blip2

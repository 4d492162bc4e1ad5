#pragma once
// The gradient of causal_attention_internal.h; included by the kernels_*.cpp only.
#include "blip2/nn/kernels/causal_attention_internal.h"

namespace blip2 {
namespace {

// scores become probabilities p, their gradient dp that of the products: p (dp - p dp) scale.
BLIP2_INLINE void softmax_backward(float* p, float* dp, Int seen, Int columns, float scale) {
  const Int whole = padded(seen);
  softmax(p, seen, scale);
  Vec products = {};
  for (Int j = 0; j < whole; j += lanes) products += load(p + j) * load(dp + j);
  const float mean = sum(products);
  for (Int j = 0; j < whole; j += lanes) {
    store(dp + j, load(p + j) * (load(dp + j) - mean) * scale);
  }
  zero_rest(p, whole, columns);
  zero_rest(dp, whole, columns);
}

// sums[seen, dim] += weights[rows, columns]^T values[rows, dim]
BLIP2_INLINE void add_turned_product(const CausalScratch& s, const QueryBlock& b,
                                     const float* weights, const float* values, float* sums) {
  multiply({weights, 1, b.columns}, {values, s.dim}, s.part, s.dim, b.seen, s.dim, b.rows);
  for (Int i = 0; i < b.seen * s.dim; i += lanes)
    store(sums + i, load(sums + i) + load(s.part + i));
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
    multiply({s.query, s.dim, 1}, {s.key_columns, s.keys}, s.scores, b.columns, b.rows, b.columns,
             dim);
    multiply({s.dout, s.dim, 1}, {s.value_columns, s.keys}, s.dscores, b.columns, b.rows, b.columns,
             dim);
    for (Int row = 0; row < b.rows; ++row) {
      softmax_backward(s.scores + row * b.columns, s.dscores + row * b.columns,
                       b.seen_by(shape, row), b.columns, shape.scale);
    }
    multiply({s.dscores, b.columns, 1}, {s.key_rows, s.dim}, s.result, s.dim, b.rows, s.dim,
             b.seen);
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

#pragma once
// Causal softmax attention of one sequence and one key/value head; included by the kernels_*.cpp
// only. Keys and values are widened once into scratch, keys transposed, so that every inner loop
// runs along adjacent floats and needs no horizontal sum.
#include "blip2/nn/kernels/attention_parts_internal.h"

namespace blip2 {
namespace {

// out[0, count) = sum over d of x[d] * columns[d, :], four vectors of outputs at a time; count is a
// multiple of `lanes`. Each output adds its terms in the order of d.
BLIP2_INLINE void combine(const float* x, Int terms, const float* columns, Int stride, Int count,
                          float* out) {
  Int j = 0;
  for (; j + 4 * lanes <= count; j += 4 * lanes) {
    Vec a = {}, b = {}, c = {}, e = {};
    for (Int d = 0; d < terms; ++d) {
      const float* column = columns + d * stride + j;
      a += load(column) * x[d];
      b += load(column + lanes) * x[d];
      c += load(column + 2 * lanes) * x[d];
      e += load(column + 3 * lanes) * x[d];
    }
    store(out + j, a), store(out + j + lanes, b);
    store(out + j + 2 * lanes, c), store(out + j + 3 * lanes, e);
  }
  for (; j < count; j += lanes) {
    Vec a = {};
    for (Int d = 0; d < terms; ++d) a += load(columns + d * stride + j) * x[d];
    store(out + j, a);
  }
}

struct CausalScratch {
  Int keys, dim;  // padded counts
  float *key_columns, *values, *value_columns, *key_rows, *dkeys, *dvalues;
  float *query, *scores, *dscores, *dout, *result;

  CausalScratch(const AttentionShape& shape, float* memory)
      : keys(padded(shape.start + shape.queries)), dim(padded(shape.head_dim)) {
    const Int block = keys * dim;
    key_columns = memory, values = key_columns + block;
    query = values + block, result = query + dim, dout = result + dim;
    scores = dout + dim, dscores = scores + keys;
    value_columns = dscores + keys, key_rows = value_columns + block;
    dkeys = key_rows + block, dvalues = dkeys + block;
  }
};

template <typename T>
void attention(const T* q, const T* k, const T* v, T* out, const AttentionShape& shape,
               float* scratch) {
  const CausalScratch s(shape, scratch);
  const Int total = shape.start + shape.queries, dim = shape.head_dim;
  transpose(k, shape.key_stride, total, dim, s.key_columns, s.keys);
  widen_rows(v, shape.key_stride, total, dim, s.values, s.dim);
  for (Int i = 0; i < shape.queries; ++i) {
    const Int seen = shape.start + i + 1;
    for (Int head = 0; head < shape.group; ++head) {
      widen_rows(q + i * shape.query_stride + head * dim, 0, 1, dim, s.query, s.dim);
      combine(s.query, dim, s.key_columns, s.keys, padded(seen), s.scores);
      softmax(s.scores, seen, shape.scale);
      combine(s.scores, seen, s.values, s.dim, s.dim, s.result);
      write_row(out + i * shape.out_stride + head * dim, s.result, dim);
    }
  }
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
  for (Int i = 0; i < total; ++i) {
    const Int seen = i + 1, whole = padded(seen);
    for (Int head = 0; head < shape.group; ++head) {
      widen_rows(q + i * shape.query_stride + head * dim, 0, 1, dim, s.query, s.dim);
      widen_rows(dout + i * shape.out_stride + head * dim, 0, 1, dim, s.dout, s.dim);
      combine(s.query, dim, s.key_columns, s.keys, whole, s.scores);
      softmax(s.scores, seen, shape.scale);
      combine(s.dout, dim, s.value_columns, s.keys, whole, s.dscores);
      Vec products = {};
      for (Int j = 0; j < whole; j += lanes) products += load(s.scores + j) * load(s.dscores + j);
      const float mean = sum(products);
      for (Int j = 0; j < whole; j += lanes) {
        store(s.dscores + j, load(s.scores + j) * (load(s.dscores + j) - mean) * shape.scale);
      }
      combine(s.dscores, seen, s.key_rows, s.dim, s.dim, s.result);
      write_row(dq + i * shape.query_stride + head * dim, s.result, dim);
      for (Int j = 0; j < seen; ++j) {
        add_scaled(s.dkeys + j * s.dim, s.dscores[j], s.query, s.dim);
        add_scaled(s.dvalues + j * s.dim, s.scores[j], s.dout, s.dim);
      }
    }
  }
  for (Int j = 0; j < total; ++j) {
    write_row(dk + j * shape.key_stride, s.dkeys + j * s.dim, dim);
    write_row(dv + j * shape.key_stride, s.dvalues + j * s.dim, dim);
  }
}

}  // namespace
}  // namespace blip2

#pragma once
// Causal softmax attention of one sequence and one key/value head; included by the kernels_*.cpp
// only. Keys and values are widened once into scratch, keys transposed. The queries of some tokens
// are multiplied at once, for all heads of the group, with the keys that the last of them sees.
#include "blip2/nn/kernels/attention_parts_internal.h"
#include "blip2/nn/kernels/matrix_product_internal.h"

namespace blip2 {
namespace {

struct CausalScratch {
  Int keys, dim, tokens;  // padded counts; tokens of a block
  float *key_columns, *values, *value_columns, *key_rows, *dkeys, *dvalues;
  float* part;                                      // in the memory of `values`
  float *query, *dout, *result, *scores, *dscores;  // of a block

  CausalScratch(const AttentionShape& shape, float* memory)
      : keys(padded(shape.start + shape.queries)),
        dim(padded(shape.head_dim)),
        tokens(attention_tokens(shape)) {
    const Int block = keys * dim, rows = tokens * shape.group;
    key_columns = memory, values = key_columns + block, part = values;
    value_columns = values + block, key_rows = value_columns + block;
    dkeys = key_rows + block, dvalues = dkeys + block;
    query = dvalues + block, dout = query + rows * dim, result = dout + rows * dim;
    scores = result + rows * dim, dscores = scores + rows * keys;
  }
};

// Some tokens' queries: row (token - first) * group + head.
struct QueryBlock {
  Int first, count, rows;
  Int seen, columns;  // keys that the last token sees; padded

  QueryBlock(const AttentionShape& shape, Int first_, Int most)
      : first(first_),
        count(shape.queries - first_ < most ? shape.queries - first_ : most),
        rows(count * shape.group),
        seen(shape.start + first_ + count),
        columns(padded(seen)) {}

  Int seen_by(const AttentionShape& shape, Int row) const {
    return shape.start + first + row / shape.group + 1;
  }
};

// body(row, offset): each row of a block, and where it lies in a matrix of `stride` elements a
// token.
template <typename Body>
BLIP2_INLINE void over_block(const AttentionShape& shape, const QueryBlock& block, Int stride,
                             const Body& body) {
  for (Int t = 0; t < block.count; ++t) {
    for (Int head = 0; head < shape.group; ++head) {
      body(t * shape.group + head, (block.first + t) * stride + head * shape.head_dim);
    }
  }
}

template <typename T>
BLIP2_INLINE void widen_block(const AttentionShape& shape, const QueryBlock& block, const T* in,
                              Int in_stride, float* out, Int stride) {
  over_block(shape, block, in_stride, [&](Int row, Int offset) {
    widen_rows(in + offset, 0, 1, shape.head_dim, out + row * stride, stride);
  });
}

template <typename T>
BLIP2_INLINE void write_block(const AttentionShape& shape, const QueryBlock& block, const float* in,
                              Int stride, T* out, Int out_stride) {
  over_block(shape, block, out_stride, [&](Int row, Int offset) {
    write_row(out + offset, in + row * stride, shape.head_dim);
  });
}

BLIP2_INLINE void zero_rest(float* row, Int from, Int to) {
  for (Int j = from; j < to; j += lanes) store(row + j, Vec{});
}

template <typename T>
void attention(const T* q, const T* k, const T* v, T* out, const AttentionShape& shape,
               float* scratch) {
  const CausalScratch s(shape, scratch);
  const Int total = shape.start + shape.queries, dim = shape.head_dim;
  transpose(k, shape.key_stride, total, dim, s.key_columns, s.keys);
  widen_rows(v, shape.key_stride, total, dim, s.values, s.dim);
  for (Int first = 0; first < shape.queries; first += s.tokens) {
    const QueryBlock b(shape, first, s.tokens);
    widen_block(shape, b, q, shape.query_stride, s.query, s.dim);
    multiply({s.query, s.dim, 1}, {s.key_columns, s.keys}, s.scores, b.columns, b.rows, b.columns,
             dim);
    for (Int row = 0; row < b.rows; ++row) {
      const Int seen = b.seen_by(shape, row);
      softmax(s.scores + row * b.columns, seen, shape.scale);
      zero_rest(s.scores + row * b.columns, padded(seen), b.columns);
    }
    multiply({s.scores, b.columns, 1}, {s.values, s.dim}, s.result, s.dim, b.rows, s.dim, b.seen);
    write_block(shape, b, s.result, s.dim, out, shape.out_stride);
  }
}

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

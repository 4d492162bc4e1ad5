#pragma once
// Causal softmax attention of one sequence and one key/value head; included by the kernels_*.cpp
// only. Keys and values are widened once into scratch, keys transposed. The queries of some tokens
// are multiplied at once, for all heads of the group, with the keys that any of them sees.
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

// Keys before the first one that the query at `position` sees, in whole sums of sixteen (WideSum):
// where a softmax begins depends on the position alone.
BLIP2_INLINE Int keys_before(const AttentionShape& shape, Int position) {
  const Int unseen = position + 1 - shape.window;
  return shape.window > 0 && unseen > 0 ? unseen / 16 * 16 : 0;
}

// Some tokens' queries: row (token - first) * group + head. Their scores have the columns of the
// keys [low, low + columns).
struct QueryBlock {
  Int first, count, rows;
  Int low, keys, columns;  // `keys` from `low` on are seen by some of the tokens; padded

  QueryBlock(const AttentionShape& shape, Int first_, Int most)
      : first(first_),
        count(shape.queries - first_ < most ? shape.queries - first_ : most),
        rows(count * shape.group),
        low(keys_before(shape, shape.start + first_)),
        keys(shape.start + first_ + count - low),
        columns(padded(keys)) {}

  Int position_of(const AttentionShape& shape, Int row) const {
    return shape.start + first + row / shape.group;
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

// The row's scores become the softmax over the keys that its token sees, and zero elsewhere.
BLIP2_INLINE void softmax_seen(float* scores, const AttentionShape& shape, const QueryBlock& block,
                               Int row) {
  const Int position = block.position_of(shape, row), seen = position + 1 - block.low;
  const Int begin = keys_before(shape, position) - block.low;
  const Int first = shape.window > 0 ? seen - shape.window : 0;
  for (Int j = begin; j < first; j += lanes) {
    const auto hidden = static_cast<std::int32_t>(first - j);
    store(scores + j, lane_numbers() < hidden ? splat(-1e30f) : load(scores + j));
  }
  softmax(scores + begin, seen - begin, shape.scale);
  zero_rest(scores, 0, begin);
  zero_rest(scores, padded(seen), block.columns);
}

template <typename T>
void attention(const T* q, const T* k, const T* v, T* out, const AttentionShape& whole,
               float* scratch) {
  AttentionShape shape = whole;  // without the keys that no query sees
  const Int passed = keys_before(whole, whole.start);
  shape.start -= passed, k += passed * shape.key_stride, v += passed * shape.key_stride;
  const CausalScratch s(shape, scratch);
  const Int total = shape.start + shape.queries, dim = shape.head_dim;
  transpose(k, shape.key_stride, total, dim, s.key_columns, s.keys);
  widen_rows(v, shape.key_stride, total, dim, s.values, s.dim);
  for (Int first = 0; first < shape.queries; first += s.tokens) {
    const QueryBlock b(shape, first, s.tokens);
    widen_block(shape, b, q, shape.query_stride, s.query, s.dim);
    multiply({s.query, s.dim, 1}, {s.key_columns + b.low, s.keys}, s.scores, b.columns, b.rows,
             b.columns, dim);
    for (Int row = 0; row < b.rows; ++row) {
      softmax_seen(s.scores + row * b.columns, shape, b, row);
    }
    multiply({s.scores, b.columns, 1}, {s.values + b.low * s.dim, s.dim}, s.result, s.dim, b.rows,
             s.dim, b.keys);
    write_block(shape, b, s.result, s.dim, out, shape.out_stride);
  }
}

}  // namespace
}  // namespace blip2

#pragma once
// Causal softmax attention of one sequence and one key/value head; included by the kernels_*.cpp
// only. Keys and values are widened once into scratch, keys transposed, so that every inner loop
// runs along adjacent floats and needs no horizontal sum.
#include "blip2/nn/kernels/vec.h"

namespace blip2 {
namespace {

BLIP2_INLINE Int padded(Int count) {
  return (count + lanes - 1) / lanes * lanes;
}

// out[head_dim, stride] = in[tokens, head_dim]^T, the padding zero.
template <typename T>
BLIP2_INLINE void transpose(const T* in, Int in_stride, Int tokens, Int head_dim, float* out,
                            Int stride) {
  float token[lanes];
  for (Int t = 0; t < stride; ++t) {
    for (Int d = 0; d < head_dim; d += lanes) {
      const Int count = head_dim - d < lanes ? head_dim - d : lanes;
      const T* from = in + t * in_stride + d;
      Vec v = {};
      if (t < tokens) v = count == lanes ? load(from) : load_part(from, count);
      store(token, v);
      for (Int i = 0; i < count; ++i) out[(d + i) * stride + t] = token[i];
    }
  }
}

// out[tokens, stride] = in[tokens, head_dim] in f32, the padding zero.
template <typename T>
BLIP2_INLINE void widen_rows(const T* in, Int in_stride, Int tokens, Int head_dim, float* out,
                             Int stride) {
  for (Int t = 0; t < tokens; ++t) {
    for (Int d = 0; d < stride; d += lanes) {
      const T* from = in + t * in_stride + d;
      store(out + t * stride + d,
            d + lanes <= head_dim ? load(from) : load_part(from, head_dim - d));
    }
  }
}

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

// x[0, count) becomes its softmax after scaling; the rest up to the next multiple of `lanes` zero.
BLIP2_INLINE void softmax(float* x, Int count, float scale) {
  const Int whole = padded(count);
  for (Int j = count; j < whole; ++j) x[j] = -1e30f;
  Vec highest = load(x);
  for (Int j = lanes; j < whole; j += lanes) highest = max(highest, load(x + j));
  const float peak = max(highest);
  Vec total = {};
  for (Int j = 0; j < whole; j += lanes) {
    const Vec e = exp((load(x + j) - peak) * scale);
    store(x + j, e);
    total += e;
  }
  const float inverse = 1.0f / sum(total);
  for (Int j = 0; j < whole; j += lanes) store(x + j, load(x + j) * inverse);
  for (Int j = count; j < whole; ++j) x[j] = 0.0f;
}

struct Scratch {
  Int keys, dim;  // padded counts
  float *key_columns, *values, *value_columns, *key_rows, *dkeys, *dvalues;
  float *query, *scores, *dscores, *dout, *result;

  Scratch(const AttentionShape& shape, float* memory)
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
BLIP2_INLINE void write_row(T* to, const float* from, Int count) {
  for_each_vec(count, [&](Int i, auto read, auto write) { write(to + i, read(from + i)); });
}

// to += factor * from over a padded row
BLIP2_INLINE void add_scaled(float* to, float factor, const float* from, Int count) {
  for (Int i = 0; i < count; i += lanes) store(to + i, load(to + i) + load(from + i) * factor);
}

template <typename T>
void attention(const T* q, const T* k, const T* v, T* out, const AttentionShape& shape,
               float* scratch) {
  const Scratch s(shape, scratch);
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
  const Scratch s(shape, scratch);
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

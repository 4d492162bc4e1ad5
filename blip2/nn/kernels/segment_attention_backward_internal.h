#pragma once
// The gradient of segment_attention_internal.h; included by the kernels_*.cpp only.
#include <cmath>

#include "blip2/nn/kernels/segment_attention_internal.h"

namespace blip2 {
namespace {

// Probabilities and their gradient of one query row: scores and score_gradient in place.
template <typename T>
inline void softmax_row_backward(const SegmentAttention<T>& args, const AttentionSegment& s,
                                 Int head, Int row, SegmentScratch& m) {
  const Int place = head * args.out_rows + s.o_begin + row, seen = visible(s, row);
  const T* out = args.out + (s.o_begin + row) * args.heads * args.head_size + head * args.head_size;
  const float* out_gradient = m.out_gradient + row * m.width_padded;
  float *p = m.scores + row * m.keys_padded, *g = m.score_gradient + row * m.keys_padded;
  Vec products = {};
  for_each_vec(m.width,
               [&](Int i, auto read, auto) { products += read(out_gradient + i) * read(out + i); });
  const float dot = sum(products), log_total = args.log_total[place], scale = args.scale;
  const DropoutRow kept(args.seed, place, args.dropout);
  Int j = 0;
  for (; j < seen; j += lanes) {
    Vec probability = exp(load(p + j) * scale - log_total);
    if (j + lanes > seen) probability = first_of(probability, seen - j, 0.0f);
    const Vec factor = args.dropout > 0 ? kept.factors(j) : splat(1.0f);
    store(g + j, probability * (load(g + j) * factor - dot) * scale);
    store(p + j, probability * factor);
  }
  for (; j < m.keys_padded; j += lanes) store(p + j, Vec{}), store(g + j, Vec{});
}

// One head's gradients in f32, [rows, head_size] each.
struct HeadGradient {
  std::vector<float> memory;
  float *q, *k, *v, *external_k, *external_v;

  HeadGradient(Int queries, Int keys, Int external, Int width)
      : memory(static_cast<std::size_t>((queries + 2 * keys + 2 * external) * width), 0.0f) {
    q = memory.data();
    k = q + queries * width;
    v = k + keys * width;
    external_k = v + keys * width;
    external_v = external_k + external * width;
  }
};

BLIP2_INLINE void add_row(const float* in, float* out, Int width) {
  for_each_vec(width,
               [&](Int i, auto read, auto write) { write(out + i, read(out + i) + read(in + i)); });
}

inline void add_gradients(HeadGradient& sums, const AttentionSegment& s, const SegmentScratch& m) {
  for (Int i = 0; i < m.rows; ++i) {
    add_row(m.out + i * m.width_padded, sums.q + (s.q_begin + i) * m.width, m.width);
  }
  for (Int j = 0; j < m.keys; ++j) {
    const auto [row, external] = key_row(s, j);
    add_row(m.k_gradient + j * m.width_padded,
            (external ? sums.external_k : sums.k) + row * m.width, m.width);
    add_row(m.v_gradient + j * m.width_padded,
            (external ? sums.external_v : sums.v) + row * m.width, m.width);
  }
}

template <typename T>
inline void attend_segment_backward(const SegmentAttentionGradient<T>& args,
                                    const AttentionSegment& s, Int head, SegmentScratch& m,
                                    HeadGradient& sums) {
  const SegmentAttention<T>& forward = args.forward;
  load_keys(forward, s, head, m, /*turn_values=*/true);
  m.fit_rows(s);
  load_queries(forward, s, head, m);
  const Int stride = forward.heads * forward.head_size;
  widen_rows(args.out_gradient + s.o_begin * stride + head * m.width, stride, m.rows, m.width,
             m.out_gradient, m.width_padded);
  multiply({m.q, m.width_padded, 1}, {m.k_turned, m.keys_padded}, m.scores, m.keys_padded, m.rows,
           m.keys_padded, m.width);
  multiply({m.out_gradient, m.width_padded, 1}, {m.v_turned, m.keys_padded}, m.score_gradient,
           m.keys_padded, m.rows, m.keys_padded, m.width);
  for (Int i = 0; i < m.rows; ++i) softmax_row_backward(forward, s, head, i, m);
  multiply({m.score_gradient, m.keys_padded, 1}, {m.k, m.width_padded}, m.out, m.width_padded,
           m.rows, m.width_padded, m.keys);
  multiply({m.score_gradient, 1, m.keys_padded}, {m.q, m.width_padded}, m.k_gradient,
           m.width_padded, m.keys, m.width_padded, m.rows);
  multiply({m.scores, 1, m.keys_padded}, {m.out_gradient, m.width_padded}, m.v_gradient,
           m.width_padded, m.keys, m.width_padded, m.rows);
  add_gradients(sums, s, m);
}

template <typename T>
inline void put_columns(const float* sums, T* out, Int rows, Int stride, Int width) {
  for (Int i = 0; i < rows; ++i) write_row(out + i * stride, sums + i * width, width);
}

template <typename T>
void attend_backward(const SegmentAttentionGradient<T>& args, Int head) {
  const Int width = args.forward.head_size, first = head * width;
  SegmentScratch scratch(width);
  HeadGradient sums(args.q_rows, args.kv_rows, args.external_rows, width);
  for (Int i = 0; i < args.forward.segment_count; ++i) {
    attend_segment_backward(args, args.forward.segments[i], head, scratch, sums);
  }
  put_columns(sums.q, args.q + first, args.q_rows, args.q_stride, width);
  put_columns(sums.k, args.k + first, args.kv_rows, args.kv_stride, width);
  put_columns(sums.v, args.v + first, args.kv_rows, args.kv_stride, width);
  put_columns(sums.external_k, args.external_k + first, args.external_rows, args.external_stride,
              width);
  put_columns(sums.external_v, args.external_v + first, args.external_rows, args.external_stride,
              width);
}

}  // namespace
}  // namespace blip2

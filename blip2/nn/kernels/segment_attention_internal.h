#pragma once
// Softmax attention of one head over segments of rows; included by the kernels_*.cpp only.
#include <cmath>

#include "blip2/nn/kernels/attention_parts_internal.h"
#include "blip2/nn/kernels/dropout_internal.h"
#include "blip2/nn/kernels/matrix_product_internal.h"

namespace blip2 {
namespace {

// A segment's matrices for one head in f32, rows padded to whole vectors.
struct SegmentScratch {
  std::vector<float> key_memory, row_memory;
  const AttentionSegment* loaded = nullptr;  // whose keys k, v and their transposes hold
  Int rows, keys, keys_padded, width, width_padded;
  float *q, *k, *v, *k_turned, *v_turned, *scores, *out, *out_gradient, *score_gradient,
      *k_gradient, *v_gradient;

  explicit SegmentScratch(Int head_size) : width(head_size), width_padded(padded(head_size)) {}

  using Member = float* SegmentScratch::*;
  template <int kCount>
  void place(std::vector<float>& memory, Int size, const Member (&members)[kCount]) {
    const auto total = static_cast<std::size_t>(size * kCount);
    if (memory.size() < total) memory.resize(total);
    for (int i = 0; i < kCount; ++i) this->*members[i] = memory.data() + size * i;
  }

  // Whether the keys of `s` are there already; otherwise there is room for them.
  bool fit_keys(const AttentionSegment& s) {
    if (loaded && loaded->same_keys(s)) return true;
    loaded = &s;
    keys = s.a_count + s.b_count;
    keys_padded = padded(keys);
    using S = SegmentScratch;
    place(key_memory, std::max(keys * width_padded, width * keys_padded),
          {&S::k, &S::v, &S::k_turned, &S::v_turned, &S::k_gradient, &S::v_gradient});
    return false;
  }

  void fit_rows(const AttentionSegment& s) {
    rows = s.q_count;
    using S = SegmentScratch;
    place(row_memory, rows * std::max(width_padded, keys_padded),
          {&S::q, &S::out, &S::out_gradient, &S::scores, &S::score_gradient});
  }
};

// Key j of a segment: its row, and whether that is one of the external matrix.
struct KeyRow {
  Int row;
  bool external;
};
BLIP2_INLINE KeyRow key_row(const AttentionSegment& s, Int j) {
  if (j < s.a_count) return {s.a_begin + j, s.external};
  return {s.b_begin + j - s.a_count, false};
}

template <typename T>
inline void load_queries(const SegmentAttention<T>& args, const AttentionSegment& s, Int head,
                         SegmentScratch& m) {
  widen_rows(args.q + s.q_begin * args.q_stride + head * args.head_size, args.q_stride, s.q_count,
             m.width, m.q, m.width_padded);
}

template <typename T>
inline void load_keys(const SegmentAttention<T>& args, const AttentionSegment& s, Int head,
                      SegmentScratch& m, bool turn_values) {
  if (m.fit_keys(s)) return;
  const Int first = head * args.head_size;
  for (Int j = 0; j < m.keys; ++j) {
    const auto [row, external] = key_row(s, j);
    const Int at = row * (external ? args.external_stride : args.kv_stride) + first;
    widen_rows((external ? args.external_k : args.k) + at, 0, 1, m.width, m.k + j * m.width_padded,
               m.width_padded);
    widen_rows((external ? args.external_v : args.v) + at, 0, 1, m.width, m.v + j * m.width_padded,
               m.width_padded);
  }
  transpose(m.k, m.width_padded, m.keys, m.width, m.k_turned, m.keys_padded);
  if (turn_values) transpose(m.v, m.width_padded, m.keys, m.width, m.v_turned, m.keys_padded);
}

BLIP2_INLINE Int visible(const AttentionSegment& s, Int row) {
  return s.a_count + (s.causal ? std::min<Int>(s.b_count, row + 1) : s.b_count);
}

template <typename T>
inline void attend_segment(const SegmentAttention<T>& args, const AttentionSegment& s, Int head,
                           SegmentScratch& m) {
  load_keys(args, s, head, m, /*turn_values=*/false);
  m.fit_rows(s);
  load_queries(args, s, head, m);
  multiply({m.q, m.width_padded, 1}, {m.k_turned, m.keys_padded}, m.scores, m.keys_padded, m.rows,
           m.keys_padded, m.width);
  for (Int i = 0; i < m.rows; ++i) {
    float* const scores = m.scores + i * m.keys_padded;
    const Int place = head * args.out_rows + s.o_begin + i, seen = visible(s, i);
    const SoftmaxSums sums = softmax(scores, seen, args.scale);
    args.log_total[place] = sums.peak + std::log(sums.total);
    for (Int j = padded(seen); j < m.keys_padded; j += lanes) store(scores + j, Vec{});
    if (args.dropout == 0) continue;
    const DropoutRow kept(args.seed, place, args.dropout);
    for (Int j = 0; j < m.keys_padded; j += lanes) {
      store(scores + j, load(scores + j) * kept.factors(j));
    }
  }
  multiply({m.scores, m.keys_padded, 1}, {m.v, m.width_padded}, m.out, m.width_padded, m.rows,
           m.width_padded, m.keys);
  const Int stride = args.heads * args.head_size;
  for (Int i = 0; i < m.rows; ++i) {
    write_row(args.out + (s.o_begin + i) * stride + head * args.head_size,
              m.out + i * m.width_padded, m.width);
  }
}

template <typename T>
void attend(const SegmentAttention<T>& args, Int head) {
  SegmentScratch scratch(args.head_size);
  for (Int i = 0; i < args.segment_count; ++i) {
    attend_segment(args, args.segments[i], head, scratch);
  }
}

}  // namespace
}  // namespace blip2

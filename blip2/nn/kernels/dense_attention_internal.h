#pragma once
// Softmax attention of heads whose rows see each other, all of them; included by the kernels_*.cpp
// only. A few rows are taken through scores, softmax and values at once, which so stay in the
// first-level cache.
#include "blip2/nn/kernels/dense_head_internal.h"

namespace blip2 {
namespace {

// kDenseRows by V registers of left [kDenseRows, depth] right [depth, stride].
template <typename T, int V>
BLIP2_INLINE void dense_tile(const typename Factors<T>::Unit* left,
                             const typename Factors<T>::Unit* right, Int stride, Int depth,
                             float* c) {
  Vec sums[kDenseRows][V] = {};
  for (Int j = 0; j < depth; ++j, right += stride) {
    for (int i = 0; i < kDenseRows; ++i) {
      const auto factor = left[i * depth + j];
      for (int v = 0; v < V; ++v) {
        sums[i][v] = Factors<T>::multiply_add(sums[i][v], factor, right + v * lanes);
      }
    }
  }
  for (int i = 0; i < kDenseRows; ++i) {
    for (int v = 0; v < V; ++v) store(c + i * stride + v * lanes, sums[i][v]);
  }
}

// c [kDenseRows, width] = left [kDenseRows, depth] right [depth, width]; whole registers wide.
template <typename T>
void dense_product(const typename Factors<T>::Unit* left, const typename Factors<T>::Unit* right,
                   Int width, Int depth, float* c) {
  Int at = 0;
  for (; at + kDenseVectors * lanes <= width; at += kDenseVectors * lanes) {
    dense_tile<T, kDenseVectors>(left, right + at, width, depth, c + at);
  }
  for (; at + 2 * lanes <= width; at += 2 * lanes) {
    dense_tile<T, 2>(left, right + at, width, depth, c + at);
  }
  if (at < width) dense_tile<T, 1>(left, right + at, width, depth, c + at);
}

template <typename T>
void attend_rows(const DenseAttention<T>& args, Int head, Int first, DenseHead<T>& m) {
  const Int count = std::min<Int>(kDenseRows, args.rows - first), column = head * args.head_size;
  lay_left<T>(args.q + first * args.stride + column, args.stride, count, m.size, m, m.size_units);
  dense_product<T>(m.left.data(), m.keys.data(), m.keys_padded, m.size_units, m.scores.data());
  for (Int i = 0; i < count; ++i) {
    softmax(m.scores.data() + i * m.keys_padded, m.rows, args.scale);
  }
  lay_left<T>(m.scores.data(), m.keys_padded, count, m.rows, m, m.key_units);
  dense_product<T>(m.left.data(), m.values.data(), m.size_padded, m.key_units, m.out.data());
  for (Int i = 0; i < count; ++i) {
    write_row(args.out + (first + i) * args.out_stride + column, m.out.data() + i * m.size_padded,
              m.size);
  }
}

template <typename T>
void attend_all(const DenseAttention<T>& args, Int begin, Int end) {
  DenseHead<T> m(args.rows, args.head_size);
  for (Int head = begin; head < end; ++head) {
    lay_keys(args.k + head * args.head_size, args.stride, m);
    lay_values(args.v + head * args.head_size, args.stride, m);
    for (Int row = 0; row < args.rows; row += kDenseRows) attend_rows(args, head, row, m);
  }
}

}  // namespace
}  // namespace blip2

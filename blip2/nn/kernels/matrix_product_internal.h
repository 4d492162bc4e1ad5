#pragma once
// Products of f32 matrices whose rows are whole vectors, in tiles of sums held in registers;
// included by the kernels_*.cpp only. Each element adds its terms in ascending order.
#include "blip2/nn/kernels/vec_internal.h"

namespace blip2 {
namespace {

// Element (i, j) is at data + i * row + j * column.
struct LeftMatrix {
  const float* data;
  Int row, column;
};
// Row i is at data + i * stride.
struct RightMatrix {
  const float* data;
  Int stride;
};

template <int kRows, int kVectors>
BLIP2_INLINE void multiply_tile(const LeftMatrix& a, const RightMatrix& b, float* c, Int c_stride,
                                Int depth) {
  Vec sums[kRows][kVectors] = {};
  for (Int j = 0; j < depth; ++j) {
    Vec right[kVectors];
    for (int v = 0; v < kVectors; ++v) right[v] = load(b.data + j * b.stride + v * lanes);
    for (int i = 0; i < kRows; ++i) {
      const float left = a.data[i * a.row + j * a.column];
      for (int v = 0; v < kVectors; ++v) sums[i][v] += left * right[v];
    }
  }
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVectors; ++v) store(c + i * c_stride + v * lanes, sums[i][v]);
  }
}

template <int kRows>
BLIP2_INLINE void multiply_rows(const LeftMatrix& a, const RightMatrix& b, float* c, Int c_stride,
                                Int n, Int depth) {
  Int at = 0;
  for (; at + 2 * lanes <= n; at += 2 * lanes) {
    multiply_tile<kRows, 2>(a, {b.data + at, b.stride}, c + at, c_stride, depth);
  }
  if (at < n) multiply_tile<kRows, 1>(a, {b.data + at, b.stride}, c + at, c_stride, depth);
}

// c [m,n] = a [m,depth] b [depth,n]; n is a multiple of `lanes`.
inline void multiply(const LeftMatrix& a, const RightMatrix& b, float* c, Int c_stride, Int m,
                     Int n, Int depth) {
  const auto left = [&a](Int i) { return LeftMatrix{a.data + i * a.row, a.row, a.column}; };
  Int i = 0;
  if constexpr (lanes == 16) {  // 32 registers hold 16 sums
    for (; i + 8 <= m; i += 8) multiply_rows<8>(left(i), b, c + i * c_stride, c_stride, n, depth);
  }
  for (; i + 4 <= m; i += 4) multiply_rows<4>(left(i), b, c + i * c_stride, c_stride, n, depth);
  for (; i < m; ++i) multiply_rows<1>(left(i), b, c + i * c_stride, c_stride, n, depth);
}

}  // namespace
}  // namespace blip2

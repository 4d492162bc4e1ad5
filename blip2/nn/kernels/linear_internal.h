#pragma once
// Products of activations with weight rows as dot products over registers; included by the
// kernels_*.cpp only. Every (row, out) pair is one vector of partial sums over the width in
// ascending order, reduced in one fixed order: its value does not depend on the tile it falls into.
#include "blip2/nn/kernels/vec_math_internal.h"

namespace blip2 {
namespace {

// How a pair of operands is multiplied and added; a target may specialise it for its own
// instruction.
template <typename T>
struct Dot {
  using Operand = Vec;
  static constexpr Int step = lanes;
  static BLIP2_INLINE Operand read(const T* p) { return load(p); }
  static BLIP2_INLINE Operand read(const T* p, Int count) { return load_part(p, count); }
  static BLIP2_INLINE Vec multiply_add(Vec sum, Operand x, Operand w) { return sum + x * w; }
};

struct LinearOutput {
  Store store_as;
  void* y;
  Int stride;
};

// The sums of R rows by four outs, one after another.
template <Int R>
struct TileSums {
  static constexpr Int size = (4 * R + lanes - 1) / lanes * lanes;
  float values[size];
};

// Puts the first `outs` <= 4 sums of every row where they belong, which begins at y[index]. They
// are rounded a register at a time.
template <typename T, Int R>
BLIP2_INLINE void put_sums(const TileSums<R>& sums, Int outs, const LinearOutput& output,
                           Int index) {
  if (output.store_as == Store::value) {
    T values[TileSums<R>::size];
    for (Int i = 0; i < TileSums<R>::size; i += lanes) store(values + i, load(sums.values + i));
    T* y = static_cast<T*>(output.y) + index;
    for (Int r = 0; r < R; ++r, y += output.stride) {
      if (outs == 4) {
        std::memcpy(y, values + 4 * r, 4 * sizeof(T));
      } else {
        std::memcpy(y, values + 4 * r, static_cast<std::size_t>(outs) * sizeof(T));
      }
    }
    return;
  }
  float* y = static_cast<float*>(output.y) + index;
  for (Int r = 0; r < R; ++r, y += output.stride) {
    for (Int i = 0; i < outs; ++i) {
      const float sum = sums.values[4 * r + i];
      y[i] = output.store_as == Store::add_f32 ? y[i] + sum : sum;
    }
  }
}

// `R` rows by four outs; the last `4 - outs` of these repeat the last out and are dropped.
template <typename T, Int R>
BLIP2_INLINE void linear_tile(const T* x, Int width, const T* weight, Int first_row, Int first_out,
                              Int outs, const LinearOutput& output) {
  const T* w[4];
  for (Int o = 0; o < 4; ++o) w[o] = weight + (first_out + (o < outs ? o : outs - 1)) * width;
  const T* xs = x + first_row * width;
  Vec sums[R][4] = {};
  const Int ahead = 4 * width;  // the next four outs, which come from memory
  Int i = 0;
  const auto advance = [&](auto read) __attribute__((always_inline)) {
    typename Dot<T>::Operand ws[4];
    for (Int o = 0; o < 4; ++o) ws[o] = read(w[o]);
    for (Int o = 0; o < 4; ++o) __builtin_prefetch(w[o] + i + ahead, 0, 2);
    for (Int r = 0; r < R; ++r) {
      const auto operand = read(xs + r * width);
      for (Int o = 0; o < 4; ++o) sums[r][o] = Dot<T>::multiply_add(sums[r][o], operand, ws[o]);
    }
  };
  for (; i + Dot<T>::step <= width; i += Dot<T>::step) {
    advance([i](const T* p) __attribute__((always_inline)) { return Dot<T>::read(p + i); });
  }
  if (i < width) {
    const Int rest = width - i;
    advance([ i, rest ](const T* p)
                __attribute__((always_inline)) { return Dot<T>::read(p + i, rest); });
  }
  TileSums<R> totals;
  for (Int i = 4 * R; i < TileSums<R>::size; ++i) totals.values[i] = 0.0f;
  for (Int r = 0; r < R; ++r) sum4(sums[r], totals.values + 4 * r);
  put_sums<T>(totals, outs, output, first_row * output.stride + first_out);
}

// The last rows, R or fewer.
template <typename T, Int R>
BLIP2_INLINE void linear_rest(const T* x, Int width, const T* weight, Int row, Int rows, Int out,
                              Int outs, const LinearOutput& output) {
  if (rows == R) return linear_tile<T, R>(x, width, weight, row, out, outs, output);
  if constexpr (R > 1) linear_rest<T, R - 1>(x, width, weight, row, rows, out, outs, output);
}

template <typename T>
BLIP2_INLINE void linear_rows(const T* x, Int width, const T* weight, Int row, Int end_row, Int out,
                              Int outs, const LinearOutput& output) {
  for (; row + BLIP2_TILE_ROWS <= end_row; row += BLIP2_TILE_ROWS) {
    linear_tile<T, BLIP2_TILE_ROWS>(x, width, weight, row, out, outs, output);
  }
  constexpr Int most = BLIP2_TILE_ROWS > 1 ? BLIP2_TILE_ROWS - 1 : 1;
  linear_rest<T, most>(x, width, weight, row, end_row - row, out, outs, output);
}

// Activations that fit half of a second-level cache stay there while the weights pass by once.
template <typename T>
void linear(const T* x, Int rows, Int width, const T* weight, Int begin, Int end, Store store_as,
            void* y, Int y_stride) {
  constexpr Int cache_bytes = 512 << 10;
  const Int fitting = cache_bytes / (width * static_cast<Int>(sizeof(T)));
  const Int block = fitting < BLIP2_TILE_ROWS ? BLIP2_TILE_ROWS : fitting;
  const LinearOutput output{store_as, y, y_stride};
  for (Int row = 0; row < rows; row += block) {
    const Int end_row = row + block < rows ? row + block : rows;
    for (Int out = begin; out < end; out += 4) {
      linear_rows(x, width, weight, row, end_row, out, end - out < 4 ? end - out : 4, output);
    }
  }
}

}  // namespace
}  // namespace blip2

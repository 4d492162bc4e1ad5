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

// The sums as T, rounded together.
template <typename T>
BLIP2_INLINE void put_values(T* y, const float* sums, Int count) {
  float four[lanes] = {};
  std::memcpy(four, sums, 4 * sizeof(float));
  T values[lanes];
  store(values, load(four));
  std::memcpy(y, values, static_cast<std::size_t>(count) * sizeof(T));
}

// Puts `count` <= 4 sums, at the places from `index` on.
template <typename T>
BLIP2_INLINE void put(const float* sums, Int count, Store store_as, void* y, Int index) {
  if (store_as == Store::value) return put_values(static_cast<T*>(y) + index, sums, count);
  float* const out = static_cast<float*>(y) + index;
  for (Int i = 0; i < count; ++i) {
    out[i] = store_as == Store::add_f32 ? out[i] + sums[i] : sums[i];
  }
}

struct LinearOutput {
  Store store_as;
  void* y;
  Int stride;
};

// `R` rows by four outs; the last `4 - outs` of these repeat the last out and are dropped.
template <typename T, Int R>
BLIP2_INLINE void linear_tile(const T* x, Int width, const T* weight, Int first_row, Int first_out,
                              Int outs, const LinearOutput& output) {
  const T* w[4];
  for (Int o = 0; o < 4; ++o) w[o] = weight + (first_out + (o < outs ? o : outs - 1)) * width;
  const T* xs = x + first_row * width;
  Vec sums[R][4] = {};
  const auto advance = [&](auto read) __attribute__((always_inline)) {
    typename Dot<T>::Operand ws[4];
    for (Int o = 0; o < 4; ++o) ws[o] = read(w[o]);
    for (Int r = 0; r < R; ++r) {
      const auto operand = read(xs + r * width);
      for (Int o = 0; o < 4; ++o) sums[r][o] = Dot<T>::multiply_add(sums[r][o], operand, ws[o]);
    }
  };
  Int i = 0;
  for (; i + Dot<T>::step <= width; i += Dot<T>::step) {
    advance([i](const T* p) __attribute__((always_inline)) { return Dot<T>::read(p + i); });
  }
  if (i < width) {
    const Int rest = width - i;
    advance([ i, rest ](const T* p)
                __attribute__((always_inline)) { return Dot<T>::read(p + i, rest); });
  }
  for (Int r = 0; r < R; ++r) {
    float total[4];
    sum4(sums[r], total);
    put<T>(total, outs, output.store_as, output.y, (first_row + r) * output.stride + first_out);
  }
}

template <typename T>
BLIP2_INLINE void linear_rows(const T* x, Int width, const T* weight, Int row, Int end_row, Int out,
                              Int outs, const LinearOutput& output) {
  for (; row + BLIP2_TILE_ROWS <= end_row; row += BLIP2_TILE_ROWS) {
    linear_tile<T, BLIP2_TILE_ROWS>(x, width, weight, row, out, outs, output);
  }
  for (; row + 2 <= end_row; row += 2) {
    linear_tile<T, 2>(x, width, weight, row, out, outs, output);
  }
  if (row < end_row) linear_tile<T, 1>(x, width, weight, row, out, outs, output);
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

#pragma once
// What both kinds of attention do with a head's matrices in f32, whose rows are padded to whole
// vectors; included by the kernels_*.cpp only.
#include "blip2/nn/kernels/vec_math_internal.h"

namespace blip2 {
namespace {

// Exchanges the lanes of a and b that differ in the bit `kDistance`: a takes the lower ones of
// both.
template <int kDistance, int... kLane>
BLIP2_INLINE void exchange(Vec& a, Vec& b, std::integer_sequence<int, kLane...>) {
  constexpr int kLanes = BLIP2_LANES;
  const Vec low = __builtin_shufflevector(
      a, b, ((kLane & kDistance) != 0 ? kLanes + kLane - kDistance : kLane)...);
  const Vec high = __builtin_shufflevector(
      a, b, ((kLane & kDistance) != 0 ? kLanes + kLane : kLane + kDistance)...);
  a = low;
  b = high;
}

// Transposes a square of `lanes` vectors, which stays in registers.
template <int kDistance, int... kRow>
BLIP2_INLINE void turn_square(Vec* square, std::integer_sequence<int, kRow...> rows) {
  if constexpr (kDistance > 0) {
    const auto pair = [&]<int kFirst>() __attribute__((always_inline)) {
      if constexpr ((kFirst & kDistance) == 0) {
        exchange<kDistance>(square[kFirst], square[kFirst + kDistance], rows);
      }
    };
    (pair.template operator()<kRow>(), ...);
    turn_square<kDistance / 2>(square, rows);
  }
}

// out[head_dim, stride] = in[tokens, head_dim]^T, the padding zero; stride is a multiple of
// `lanes`.
template <typename T>
BLIP2_INLINE void transpose(const T* in, Int in_stride, Int tokens, Int head_dim, float* out,
                            Int stride) {
  Vec square[lanes];
  for (Int t = 0; t < stride; t += lanes) {
    for (Int d = 0; d < head_dim; d += lanes) {
      const Int count = head_dim - d < lanes ? head_dim - d : lanes;
      for (Int i = 0; i < lanes; ++i) {
        const T* from = in + (t + i) * in_stride + d;
        square[i] = Vec{};
        if (t + i < tokens) square[i] = count == lanes ? load(from) : load_part(from, count);
      }
      turn_square<BLIP2_LANES / 2>(square, std::make_integer_sequence<int, BLIP2_LANES>{});
      for (Int i = 0; i < count; ++i) store(out + (d + i) * stride + t, square[i]);
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

template <typename T>
BLIP2_INLINE void write_row(T* to, const float* from, Int count) {
  for_each_vec(count, [&](Int i, auto read, auto write) { write(to + i, read(from + i)); });
}

}  // namespace
}  // namespace blip2

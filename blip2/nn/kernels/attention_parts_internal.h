#pragma once
// What both kinds of attention do with a head's matrices in f32, whose rows are padded to whole
// vectors; included by the kernels_*.cpp only.
#include "blip2/nn/kernels/vec_math_internal.h"

namespace blip2 {
namespace {

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

template <typename T>
BLIP2_INLINE void write_row(T* to, const float* from, Int count) {
  for_each_vec(count, [&](Int i, auto read, auto write) { write(to + i, read(from + i)); });
}

// to += factor * from over a padded row
BLIP2_INLINE void add_scaled(float* to, float factor, const float* from, Int count) {
  for (Int i = 0; i < count; i += lanes) store(to + i, load(to + i) + load(from + i) * factor);
}

}  // namespace
}  // namespace blip2

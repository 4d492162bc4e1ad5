#pragma once
// The layer norm of a residual sum with dropout, and its gradient; included by the kernels_*.cpp
// only.
#include "blip2/nn/kernels/dropout_internal.h"
#include "blip2/nn/kernels/norms_internal.h"

namespace blip2 {
namespace {

// sum = dropout(a + bias) + x, in f32.
template <typename T>
BLIP2_INLINE void residual_row(const AddNorm<T>& args, Int row, float* sum) {
  const T* a = args.a + row * args.width;
  const T* x = args.x + (args.source ? args.source[row] : row) * args.width;
  const float* bias = args.bias;
  if (args.dropout > 0) {
    const DropoutRow kept(args.seed, row, args.dropout);
    for_each_vec(args.width, [&](Int i, auto read, auto write) {
      write(sum + i, (read(a + i) + read(bias + i)) * kept.factors(i) + read(x + i));
    });
  } else {
    for_each_vec(args.width, [&](Int i, auto read, auto write) {
      write(sum + i, read(a + i) + read(bias + i) + read(x + i));
    });
  }
}

template <typename T>
void add_norm(const AddNorm<T>& args, Int begin, Int end) {
  std::vector<float> memory(static_cast<std::size_t>(args.width));
  float* const sum = memory.data();
  for (Int row = begin; row < end; ++row) {
    residual_row(args, row, sum);
    const Moments m = moments_of(sum, args.width, args.eps);
    T* const kept_sum = args.a + row * args.width;
    for_each_vec(args.width,
                 [&](Int i, auto read, auto write) { write(kept_sum + i, read(sum + i)); });
    normalise(sum, m, args.weight, args.offset, args.y + row * args.width, args.width);
    args.mean[row] = m.mean;
    args.scale[row] = m.inverse;
  }
}

// The gradient at the sum of one row; adds to weight_gradient and offset.
template <typename T>
BLIP2_INLINE void norm_row_backward(const AddNormGradient<T>& args, Int row, float* out) {
  const Int width = args.width;
  const T *sums = args.sum + row * width, *dy = args.y_gradient + row * width;
  const float mean = args.mean[row], scale = args.scale[row], *weight = args.weight;
  float *weight_gradient = args.weight_gradient, *offset = args.offset;
  Vec totals = {}, products = {};
  for_each_vec(width, [&](Int i, auto read, auto write) {
    const Vec normal = (read(sums + i) - mean) * scale, gradient = read(dy + i);
    write(weight_gradient + i, read(weight_gradient + i) + gradient * normal);
    write(offset + i, read(offset + i) + gradient);
    const Vec weighted = gradient * read(weight + i);
    totals += weighted;
    products += weighted * normal;
  });
  const float total = sum(totals) / static_cast<float>(width);
  const float product = sum(products) / static_cast<float>(width);
  for_each_vec(width, [&](Int i, auto read, auto write) {
    const Vec normal = (read(sums + i) - mean) * scale;
    write(out + i, scale * (read(dy + i) * read(weight + i) - total - normal * product));
  });
}

// Writes the row's gradient at `a` behind dropout, and adds it to the bias's.
template <typename T>
BLIP2_INLINE void residual_row_backward(const AddNormGradient<T>& args, Int row, float* gradient) {
  float* const bias = args.bias;
  if (args.dropout > 0) {
    const DropoutRow kept(args.seed, row, args.dropout);
    T* const a_gradient = args.a_gradient + row * args.width;
    for_each_vec(args.width, [&](Int i, auto read, auto write) {
      const Vec g = read(gradient + i) * kept.factors(i);
      write(a_gradient + i, g);
      write(bias + i, read(bias + i) + g);
    });
  } else {
    for_each_vec(args.width, [&](Int i, auto read, auto write) {
      write(bias + i, read(bias + i) + read(gradient + i));
    });
  }
}

template <typename T>
void add_norm_backward(const AddNormGradient<T>& args, Int begin, Int end) {
  std::vector<float> memory(static_cast<std::size_t>(args.width));
  float* const gradient = memory.data();
  for (Int row = begin; row < end; ++row) {
    norm_row_backward(args, row, gradient);
    T* const sum_gradient = args.sum_gradient + row * args.width;
    for_each_vec(args.width, [&](Int i, auto read, auto write) {
      write(sum_gradient + i, read(gradient + i));
    });
    residual_row_backward(args, row, gradient);
  }
}

}  // namespace
}  // namespace blip2

#pragma once
// Sums over rows and columns, and change of type. See kernels.h for what each does; included by
// the kernels_*.cpp only.
#include "blip2/nn/kernels/vec_internal.h"

namespace blip2 {
namespace {

template <typename T>
void add_bias(T* y, const float* bias, Int rows, Int width) {
  for (Int row = 0; row < rows; ++row, y += width) {
    for_each_vec(width,
                 [&](Int i, auto read, auto write) { write(y + i, read(y + i) + read(bias + i)); });
  }
}

template <typename T>
void add(const float* x, const T* delta, float* y, Int count) {
  for_each_vec(count,
               [&](Int i, auto read, auto write) { write(y + i, read(x + i) + read(delta + i)); });
}

template <typename T>
void narrow(const float* x, T* y, Int count) {
  for_each_vec(count, [&](Int i, auto read, auto write) { write(y + i, read(x + i)); });
}

template <typename T>
void column_sums(const T* matrix, float* sums, Int rows, Int width, Int begin, Int end) {
  for (Int row = 0; row < rows; ++row) {
    const T* in = matrix + row * width + begin;
    for_each_vec(end - begin, [&](Int i, auto read, auto write) {
      write(sums + begin + i, read(sums + begin + i) + read(in + i));
    });
  }
}

template <typename T>
void sum_rows(const T* x, T* y, const std::int32_t* starts, const std::int32_t* from, Int width,
              Int begin, Int end) {
  for (Int row = begin; row < end; ++row) {
    for_each_vec(width, [&](Int i, auto read, auto write) {
      Vec total = {};
      for (std::int32_t k = starts[row]; k < starts[row + 1]; ++k) {
        total += read(x + from[k] * width + i);
      }
      write(y + row * width + i, total);
    });
  }
}

}  // namespace
}  // namespace blip2

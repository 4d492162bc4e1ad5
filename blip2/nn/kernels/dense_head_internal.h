#pragma once
// One head of dense_attention_internal.h, its rows laid out for products of whole registers;
// included by the kernels_*.cpp only.
#include <vector>

#include "blip2/nn/kernels/attention_parts_internal.h"

namespace blip2 {
namespace {

// What one multiplication of a lane takes: a number as f32. A target may specialise it to pairs of
// neighbours for its own instruction.
template <typename T>
struct Factors {
  using Unit = float;
  static constexpr Int numbers = 1;
  static BLIP2_INLINE Vec multiply_add(Vec sum, Unit left, const Unit* right) {
    return sum + left * load(right);
  }
};

constexpr int kDenseRows = 6;                             // rows that are taken at once
constexpr int kDenseVectors = BLIP2_LANES == 16 ? 4 : 2;  // times these: sums held in registers

// One head's matrices in units, the padding zero.
template <typename T>
struct DenseHead {
  using Unit = typename Factors<T>::Unit;
  Int rows, size, keys_padded, size_padded, size_units, key_units;
  std::vector<Unit> keys;          // [size_units, keys_padded]
  std::vector<Unit> values;        // [key_units, size_padded]
  std::vector<Unit> left;          // [kDenseRows, the larger of size_units and key_units]
  std::vector<float> scores, out;  // [kDenseRows, keys_padded], [kDenseRows, size_padded]

  DenseHead(Int rows_, Int size_)
      : rows(rows_),
        size(size_),
        keys_padded(padded(rows_)),
        size_padded(padded(size_)),
        size_units(units(size_)),
        key_units(units(rows_)),
        keys(static_cast<std::size_t>(size_units * keys_padded)),
        values(static_cast<std::size_t>(key_units * size_padded)),
        left(static_cast<std::size_t>(kDenseRows * std::max(size_units, units(keys_padded)))),
        scores(static_cast<std::size_t>(kDenseRows * keys_padded)),
        out(static_cast<std::size_t>(kDenseRows * size_padded)) {}

  static Int units(Int count) { return (count + Factors<T>::numbers - 1) / Factors<T>::numbers; }
};

// The two neighbours, the second one zero if there is none.
template <typename T>
BLIP2_INLINE std::uint32_t pair_of(const T* first, const T* second) {
  return first->bits | static_cast<std::uint32_t>(second ? second->bits : 0) << 16;
}

template <typename T>
void lay_keys(const T* k, Int stride, DenseHead<T>& m) {
  if constexpr (Factors<T>::numbers == 1) {
    transpose(k, stride, m.rows, m.size, m.keys.data(), m.keys_padded);
  } else {
    for (Int key = 0; key < m.rows; ++key, k += stride) {
      for (Int i = 0; i < m.size; i += 2) {
        m.keys[static_cast<std::size_t>(i / 2 * m.keys_padded + key)] =
            pair_of(k + i, i + 1 < m.size ? k + i + 1 : nullptr);
      }
    }
  }
}

template <typename T>
void lay_values(const T* v, Int stride, DenseHead<T>& m) {
  if constexpr (Factors<T>::numbers == 1) {
    widen_rows(v, stride, m.rows, m.size, m.values.data(), m.size_padded);
  } else {
    for (Int key = 0; key < m.rows; key += 2) {
      const T *even = v + key * stride, *odd = key + 1 < m.rows ? even + stride : nullptr;
      std::uint32_t* const to = m.values.data() + key / 2 * m.size_padded;
      for (Int i = 0; i < m.size; ++i) to[i] = pair_of(even + i, odd ? odd + i : nullptr);
    }
  }
}

// Rows of T or f32 [count, width] as units, `stride` numbers apart; rows up to kDenseRows are zero.
template <typename T, typename From>
void lay_left(const From* x, Int stride, Int count, Int width, DenseHead<T>& m, Int units) {
  using Number = std::conditional_t<Factors<T>::numbers == 1, float, T>;
  std::fill(m.left.begin(), m.left.end(), 0);
  for (Int row = 0; row < count; ++row, x += stride) {
    auto* const to = reinterpret_cast<Number*>(m.left.data() + row * units);
    for_each_vec(width, [&](Int i, auto read, auto write) { write(to + i, read(x + i)); });
  }
}

}  // namespace
}  // namespace blip2

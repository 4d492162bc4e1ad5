#pragma once

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "blip2/language/rope_table_internal.h"
#include "blip2/nn/kernels/kernels.h"

namespace blip2 {

// The places of packed rows of tokens, and what they do to queries and keys in T. A row holds the
// queries of all heads, then the keys, then the values.
template <typename T>
class RowPlaces {
  using Int = std::int64_t;

 public:
  // `places`: where each row's token stands, within the table.
  RowPlaces(const DecoderConfig& config, const RopeTable& rope, std::vector<TokenPlace> places)
      : c_(config), rope_(rope), places_(std::move(places)) {}

  Int rows() const { return std::ssize(places_); }

  // Turns queries and keys of `count` rows from `begin` on by their positions in the layer, and
  // scales queries; sign -1 turns gradients back.
  void turn(Int layer, T* qkv, Int begin, Int count, float sign) const {
    for (Int row = begin; row < begin + count; ++row) {
      const TokenPlace place = places_[static_cast<std::size_t>(row)];
      T* const at = qkv + row * c_.qkv_width();
      const RopeAngles angles = rope_.at(layer, place);
      if (angles.cos) turn_heads(at, angles, sign);
      if (c_.query_scale.beta != 0) scale_queries(at, place.position);
    }
  }

 private:
  // The first rotated() numbers of each head.
  void turn_heads(T* row, const RopeAngles& angles, float sign) const {
    const Int heads = c_.num_attention_heads + c_.num_key_value_heads, dim = c_.head_dim;
    if (c_.rotated() == dim) return k_.rope(row, angles.cos, angles.sin, heads, dim, sign);
    for (Int head = 0; head < heads; ++head) {
      k_.rope(row + head * dim, angles.cos, angles.sin, 1, c_.rotated(), sign);
    }
  }

  void scale_queries(T* row, Int position) const {
    const auto lengths = static_cast<double>(position / c_.query_scale.length);
    const auto factor = static_cast<float>(1.0 + c_.query_scale.beta * std::log1p(lengths));
    if (factor == 1.0f) return;
    std::vector<float> wide(static_cast<std::size_t>(c_.query_width()));
    k_.add(wide.data(), row, wide.data(), c_.query_width());
    for (float& value : wide) value *= factor;
    k_.narrow(wide.data(), row, c_.query_width());
  }

  const DecoderConfig& c_;
  const RopeTable& rope_;
  const std::vector<TokenPlace> places_;
  const Kernels<T>& k_ = kernels<T>();
};

}  // namespace blip2

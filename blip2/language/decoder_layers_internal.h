#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "blip2/language/decoder_weights.h"
#include "blip2/language/row_places_internal.h"
#include "blip2/nn/kernels/kernels.h"

namespace blip2 {

// The layers of a decoder over N packed rows of tokens, with products in T (float, Bf16 or F16):
// the one description of a layer. Derived classes say how a product is computed and which keys
// attention sees: the keys of the same packed sequence (DecoderPass, training) or the keys of a
// cache (DecoderSession, generating). Hidden size D, feed-forward F, queries Q, keys K.
template <typename T>
class DecoderLayers {
 public:
  DecoderLayers(const DecoderLayers&) = delete;
  DecoderLayers& operator=(const DecoderLayers&) = delete;

 protected:
  using Int = std::int64_t;

  // Memory for the values of one layer.
  struct Values {
    T* normed;   // [N, max(D, Q)]: the norms' results, and attention's
    T* plain;    // [N, Q + K]: queries and keys before their norms; nullptr: not kept
    T* qkv;      // [N, Q + 2 K]
    T* gate_up;  // [N, 2 F] or [N, F]
    T* act;      // [N, F]
    // [N, D]: the results of attention and of the feed-forward before the norms behind them;
    // nullptr: not kept
    T *attended, *fed;
  };

  DecoderLayers(const DecoderWeights& weights, const RopeTable& rope,
                std::vector<TokenPlace> places)
      : weights_(weights), places_(weights.config, rope, std::move(places)) {}
  virtual ~DecoderLayers() = default;

  // x [N, D] -> y [N, D], f32; x and y may be the same memory.
  void attention(Int l, const Values& to, const float* x, float* y) {
    const DecoderLayer& layer = layer_at(l);
    mix(l, to, x);                                                             // [N, Q]
    add_product(to.normed, layer.o, layer.attention_norm, to.attended, x, y);  // [N, D]
  }

  // x [N, D] -> to.normed [N, Q]: what the rows see of each other.
  void mix(Int l, const Values& to, const float* x) {
    const DecoderLayer& layer = layer_at(l);
    norm(layer.input_norm, x, n_, to.normed);  // [N, D]
    multiply(to.normed, layer.qkv, to.qkv);    // [N, Q + 2 K]
    norm_and_rotate(l, to);                    // [N, Q + 2 K]
    attend(l, to.qkv, to.normed);              // [N, Q]
  }

  void feed_forward(Int l, const Values& to, const float* x, float* y) {
    const DecoderLayer& layer = layer_at(l);
    norm(layer.post_norm, x, n_, to.normed);                                 // [N, D]
    multiply(to.normed, layer.gate_up, to.gate_up);                          // [N, 2 F] or [N, F]
    activate(to.gate_up, to.act);                                            // [N, F]
    add_product(to.act, layer.down, layer.feed_forward_norm, to.fed, x, y);  // [N, D]
  }

  virtual void multiply(const T* x, const Linear& linear, T* y) = 0;
  // y = from + the product, or the product's norm if that is defined; the product goes to `kept`
  // before unless that is nullptr.
  virtual void add_product(const T* x, const Linear& linear, const Norm& behind, T* kept,
                           const float* from, float* y) = 0;
  // Queries, keys and values [N, Q + 2 K] -> [N, Q].
  virtual void attend(Int l, const T* qkv, T* out) = 0;

  // Without a norm the rows are only narrowed.
  template <typename Y>
  void norm(const Norm& norm, const float* x, Int rows, Y* y) const {
    over_rows(rows, [&](Int i, Int m) {
      if (norm.defined()) return norm.each_row(x + i * d_, y + i * d_, m);
      kernels<Y>().narrow(x + i * d_, y + i * d_, m * d_);
    });
  }

  // Calls body(first, count) for ranges of rows on several threads; few rows stay on this thread.
  template <typename Body>
  static void over_rows(Int rows, const Body& body) {
    at::parallel_for(0, rows, 8, [&](Int begin, Int end) { body(begin, end - begin); });
  }

  const DecoderLayer& layer_at(Int l) const { return weights_.layers[static_cast<std::size_t>(l)]; }

  const DecoderWeights& weights_;
  const DecoderConfig& c_ = weights_.config;
  const RowPlaces<T> places_;
  Int n_ = places_.rows();  // that are computed
  const Int d_ = c_.hidden_size, f_ = c_.intermediate_size;
  const Int q_ = c_.query_width(), width_ = c_.qkv_width(), up_ = c_.up_width();
  const Kernels<T>& k_ = kernels<T>();

 private:
  // Applies the norms of queries and keys if the model has them, then rotates them.
  void norm_and_rotate(Int l, const Values& to) const {
    const DecoderLayer& layer = layer_at(l);
    over_rows(n_, [&](Int begin, Int count) {
      T* const first = to.qkv + begin * width_;
      if (layer.query_norm.defined()) {
        if (to.plain) copy_heads(to, begin, count);
        layer.query_norm.each_head(first, count, q_ / layer.query_norm.width(), width_);
        layer.key_norm.each_head(first + q_, count, c_.key_width() / layer.key_norm.width(),
                                 width_);
      }
      places_.turn(l, to.qkv, begin, count, 1.0f);
    });
  }

  void copy_heads(const Values& to, Int begin, Int count) const {
    const Int kept = q_ + c_.key_width();
    for (Int row = begin; row < begin + count; ++row) {
      std::copy_n(to.qkv + row * width_, kept, to.plain + row * kept);
    }
  }

  void activate(const T* up, T* y) const {
    over_rows(n_, [&](Int i, Int m) {
      const T* from = up + i * up_;
      T* const to = y + i * f_;
      switch (c_.activation) {
        case Activation::gated_silu:
          return k_.silu_mul(from, to, m, f_);
        case Activation::gated_gelu_tanh:
          return k_.gelu_mul(from, to, m, f_);
        case Activation::relu:
          return k_.relu(from, to, m * f_);
        case Activation::gelu_tanh:
          return k_.gelu_tanh(from, to, m * f_);
      }
    });
  }
};

}  // namespace blip2

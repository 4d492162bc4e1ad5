#pragma once

#include <algorithm>
#include <vector>

#include "blip2/language/decoder_layers_internal.h"
#include "blip2/language/decoder_stack_internal.h"
#include "blip2/nn/element_type.h"
#include "blip2/nn/padded_rows.h"

namespace blip2 {

// The layers over packed sequences, forward and backward: products go through ATen, and attention
// sees tokens of the same sequence only. Behind the last layer's attention only the wanted rows
// are computed. Included by decoder_stack.cpp only.
template <typename T>
class DecoderPass : DecoderLayers<T> {
  using Layers = DecoderLayers<T>;
  using Layers::c_, Layers::d_, Layers::f_, Layers::k_, Layers::layer_at, Layers::n_,
      Layers::over_rows, Layers::q_, Layers::up_, Layers::weights_, Layers::width_;
  using typename Layers::Int;
  using typename Layers::Values;

 public:
  DecoderPass(const DecoderWeights& weights, const RopeTable& rope, const PackedRange& range,
              DecoderActivations& memory, bool keep)
      : Layers(weights, rope, places_of(rope, range.offsets)),
        offsets_(range.offsets),
        wanted_(range.wanted),
        memory_(memory),
        keep_(keep) {
    const std::vector<Int>& offsets = range.offsets;
    for (std::size_t i = 1; i < offsets.size(); ++i) {
      longest_ = std::max(longest_, offsets[i] - offsets[i - 1]);
    }
  }

  at::Tensor forward(const at::Tensor& embeds) {
    std::copy_n(embeds.const_data_ptr<float>(), n_ * d_, input(0));
    for (Int l = 0; l < c_.num_hidden_layers; ++l) {
      if (l == last_ && !wanted_.empty()) {
        attend_wanted(l);
      } else {
        this->attention(l, values(l), input(l), middle(l));
      }
      this->feed_forward(l, values(l), middle(l), input(l + 1));
    }
    at::Tensor hidden = at::empty({n_, d_}, at::kFloat);
    this->norm(weights_.norm, input(c_.num_hidden_layers), n_, hidden.mutable_data_ptr<float>());
    return hidden;
  }

  at::Tensor backward(const at::Tensor& gradient) {
    at::Tensor result = at::zeros({n_, d_}, at::kFloat);
    float* const dx = result.mutable_data_ptr<float>();
    if (!wanted_.empty()) n_ = std::ssize(wanted_);
    add_gradient(weights_.norm, input(c_.num_hidden_layers), gradient.const_data_ptr<float>(), dx);
    for (Int l = c_.num_hidden_layers; l-- > 0;) {
      feed_forward_backward(l, dx);
      output_backward(l);
      if (l == last_ && !wanted_.empty()) spread_wanted(dx);
      attention_backward(l, dx);
    }
    return result;
  }

 private:
  // The last layer's attention. All rows are seen, and the wanted ones go on as rows 0, 1 ...
  void attend_wanted(Int l) {
    this->mix(l, values(l), input(l));
    T* const mixed = values(l).normed;
    n_ = std::ssize(wanted_);
    for (Int i = 0; i < n_; ++i) {
      const Int row = wanted_[static_cast<std::size_t>(i)];
      std::copy_n(mixed + row * q_, q_, mixed + i * q_);  // from a row that is not before i
      std::copy_n(input(l) + row * d_, d_, middle(l) + i * d_);
    }
    const DecoderLayer& layer = layer_at(l);
    add_product(mixed, layer.o, layer.attention_norm, values(l).attended, middle(l), middle(l));
  }

  // The gradients of the wanted rows go to their places; those of all other rows are 0.
  void spread_wanted(float* dx) {
    spread(dx, d_);
    spread(data(memory_.delta), q_);
    n_ = offsets_.back();
  }
  template <typename Y>
  void spread(Y* rows, Int width) const {
    Int end = offsets_.back();
    for (Int i = std::ssize(wanted_); i-- > 0;) {
      const Int row = wanted_[static_cast<std::size_t>(i)];
      std::copy_n(rows + i * width, width, rows + row * width);
      std::fill(rows + (row + 1) * width, rows + end * width, Y{});
      end = row;
    }
    std::fill(rows, rows + end * width, Y{});
  }

  // dx [N, D] is the gradient of the layer's result; memory.narrow has it too, as T.
  void feed_forward_backward(Int l, float* dx) {
    const DecoderLayer& layer = layer_at(l);
    T *const dact = data(memory_.wide), *const dgate_up = data(memory_.dgate_up);
    T* const dnormed = data(memory_.delta);
    norm_backward(layer.feed_forward_norm, values(l).fed);  // [N, D]
    multiply_back(data(memory_.narrow), layer.down, dact);  // [N, F]
    activate_backward(values(l).gate_up, dact, dgate_up);   // [N, 2 F] or [N, F]
    multiply_back(dgate_up, layer.gate_up, dnormed);        // [N, D]
    add_gradient(layer.post_norm, middle(l), dnormed, dx);  // [N, D]
  }

  // The gradient of what the rows see of each other: memory.delta [N, Q].
  void output_backward(Int l) {
    norm_backward(layer_at(l).attention_norm, values(l).attended);
    multiply_back(data(memory_.narrow), layer_at(l).o, data(memory_.delta));
  }

  // memory.narrow [N, D], the gradient of a norm's result, becomes that of the product before it.
  void norm_backward(const Norm& behind, const T* product) {
    if (!behind.defined()) return;
    over_rows(n_, [&](Int i, Int m) {
      behind.head_gradient(product + i * d_, d_, data(memory_.narrow) + i * d_, m, 1, d_);
    });
  }

  void attention_backward(Int l, float* dx) {
    const DecoderLayer& layer = layer_at(l);
    T *const dqkv = data(memory_.dqkv), *const delta = data(memory_.delta);
    attend_backward(l, values(l).qkv, delta, dqkv);       // [N, Q + 2 K]
    norm_and_rotate_backward(l, values(l).plain, dqkv);   // [N, Q + 2 K]
    multiply_back(dqkv, layer.qkv, delta);                // [N, D]
    add_gradient(layer.input_norm, input(l), delta, dx);  // [N, D]
  }

  void attend(Int l, const T* qkv, T* out) override {
    over_heads(l, [&](Int row, Int head, const AttentionShape& shape, float* scratch) {
      const T* key = qkv + key_at(row, head);
      k_.attention(qkv + query_at(row, head), key, key + c_.key_width(), out + output_at(row, head),
                   shape, scratch);
    });
  }
  void attend_backward(Int l, const T* qkv, const T* dout, T* dqkv) {
    over_heads(l, [&](Int row, Int head, const AttentionShape& shape, float* scratch) {
      const T* key = qkv + key_at(row, head);
      T* const dkey = dqkv + key_at(row, head);
      k_.attention_backward(qkv + query_at(row, head), key, key + c_.key_width(),
                            dout + output_at(row, head), dqkv + query_at(row, head), dkey,
                            dkey + c_.key_width(), shape, scratch);
    });
  }

  // The gradient of rotated and normed queries and keys becomes the gradient of the product's
  // result.
  void norm_and_rotate_backward(Int l, const T* plain, T* dqkv) {
    const DecoderLayer& layer = layer_at(l);
    const Int keys = c_.key_width(), kept = q_ + keys;
    over_rows(n_, [&](Int begin, Int count) {
      this->places_.turn(l, dqkv, begin, count, -1.0f);
      if (!layer.query_norm.defined()) return;
      const T* from = plain + begin * kept;
      T* const to = dqkv + begin * width_;
      const Norm &queries = layer.query_norm, &key = layer.key_norm;
      queries.head_gradient(from, kept, to, count, q_ / queries.width(), width_);
      key.head_gradient(from + q_, kept, to + q_, count, keys / key.width(), width_);
    });
  }

  void activate_backward(const T* up, const T* dy, T* dup) {
    over_rows(n_, [&](Int i, Int m) {
      const T *x = up + i * up_, *d = dy + i * f_;
      T* const to = dup + i * up_;
      switch (c_.activation) {
        case Activation::gated_silu:
          return k_.silu_mul_backward(x, d, to, m, f_);
        case Activation::gated_gelu_tanh:
          return k_.gelu_mul_backward(x, d, to, m, f_);
        case Activation::relu:
          return k_.relu_backward(x, d, to, m * f_);
        case Activation::gelu_tanh:
          return k_.gelu_tanh_backward(x, d, to, m * f_);
      }
    });
  }

  // dx += the norm's gradient at x, or dy without a norm; memory.narrow = dx as T
  template <typename Y>
  void add_gradient(const Norm& norm, const float* x, const Y* dy, float* dx) {
    over_rows(n_, [&](Int begin, Int count) {
      for (Int i = begin * d_; i < (begin + count) * d_; i += d_) {
        if (norm.defined()) {
          norm.gradient(x + i, dy + i, dx + i, 1);
        } else {
          kernels<Y>().add(dx + i, dy + i, dx + i, d_);
        }
        k_.narrow(dx + i, data(memory_.narrow) + i, d_);
      }
    });
  }

  // Rows from n_ on hold arbitrary numbers.
  at::Tensor matrix(const T* values, Int width) const {
    return at::from_blob(const_cast<T*>(values), {padded_rows(n_), width},
                         at::TensorOptions(kScalarType<T>));
  }
  void multiply(const T* x, const Linear& linear, T* y) override {
    const at::Tensor rows = matrix(x, linear.ins());
    at::Tensor out = matrix(y, linear.outs());
    linear.multiply_into(rows, out);
    if (!linear.low_rank) return;
    linear.low_rank->add_into(rows, out, n_, keep_ ? &memory_.low_rank : nullptr);
  }
  void add_product(const T* x, const Linear& linear, const Norm& behind, T* kept, const float* from,
                   float* y) override {
    T* const delta = data(memory_.delta);
    multiply(x, linear, delta);
    over_rows(n_, [&](Int i, Int m) {
      T* const product = delta + i * d_;
      if (behind.defined()) {
        if (kept) std::copy_n(product, m * d_, kept + i * d_);
        behind.each_head(product, m, 1, d_);
      }
      k_.add(from + i * d_, product, y + i * d_, m * d_);
    });
  }
  void multiply_back(const T* dy, const Linear& linear, T* dx) {
    at::Tensor rows = matrix(dy, linear.outs()), out = matrix(dx, linear.ins());
    linear.gradient_into(rows, out);
    if (linear.low_rank) linear.low_rank->gradient_into(rows, out, n_, memory_.low_rank);
  }

  // body(first row, key/value head, shape, scratch) for every sequence on all threads
  template <typename Body>
  void over_heads(Int l, const Body& body) {
    const Int heads = c_.num_key_value_heads, count = static_cast<Int>(offsets_.size()) - 1;
    at::parallel_for(0, count * heads, 1, [&](Int begin, Int end) {
      std::vector<float> scratch(static_cast<std::size_t>(attention_scratch(shape(l, longest_))));
      for (Int i = begin; i < end; ++i) {
        const auto sequence = static_cast<std::size_t>(i / heads);
        const Int length = offsets_[sequence + 1] - offsets_[sequence];
        if (length > 0) body(offsets_[sequence], i % heads, shape(l, length), scratch.data());
      }
    });
  }
  AttentionShape shape(Int l, Int queries) const {
    return {.start = 0,
            .queries = queries,
            .group = c_.num_attention_heads / c_.num_key_value_heads,
            .head_dim = c_.head_dim,
            .query_stride = width_,
            .key_stride = width_,
            .out_stride = q_,
            .scale = c_.attention_scale(),
            .window = c_.window_of(l)};
  }
  Int query_at(Int row, Int head) const {
    return row * width_ + head * (q_ / c_.num_key_value_heads);
  }
  Int key_at(Int row, Int head) const { return row * width_ + q_ + head * c_.head_dim; }
  Int output_at(Int row, Int head) const { return row * q_ + head * (q_ / c_.num_key_value_heads); }

  static std::vector<TokenPlace> places_of(const RopeTable& rope, const std::vector<Int>& offsets) {
    std::vector<TokenPlace> places;
    for (std::size_t i = 1; i < offsets.size(); ++i) {
      const Int length = offsets[i] - offsets[i - 1];
      for (Int t = 0; t < length; ++t) places.push_back({t, rope.is_long(length)});
    }
    return places;
  }

  Values values(Int l) const {
    const bool normed = keep_ && c_.norms_queries(), behind = keep_ && c_.norm_after;
    T* const products = layer_data(memory_.products, l);
    return {.normed = data(memory_.narrow),
            .plain = normed ? layer_data(memory_.plain, l) : nullptr,
            .qkv = layer_data(memory_.qkv, l),
            .gate_up = layer_data(memory_.gate_up, l),
            .act = data(memory_.wide),
            .attended = behind ? products : nullptr,
            .fed = behind ? products + memory_.rows * d_ : nullptr};
  }
  static T* data(const at::Tensor& tensor) { return static_cast<T*>(tensor.mutable_data_ptr()); }
  T* layer_data(const at::Tensor& memory, Int l) const {
    return data(memory) + (keep_ ? l : 0) * memory.stride(0);
  }
  float* input(Int l) const {
    return memory_.inputs.mutable_data_ptr<float>() + (keep_ ? l : 0) * memory_.inputs.stride(0);
  }
  float* middle(Int l) const {
    return memory_.middles.mutable_data_ptr<float>() + (keep_ ? l : 0) * memory_.middles.stride(0);
  }

  const std::vector<Int>&offsets_, &wanted_;
  DecoderActivations& memory_;
  bool keep_;
  Int longest_ = 0;
  const Int last_ = c_.num_hidden_layers - 1;
};

}  // namespace blip2

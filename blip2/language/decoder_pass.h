#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "blip2/language/decoder_rows.h"
#include "blip2/language/decoder_stack.h"
#include "blip2/nn/kernels/kernels.h"
#include "blip2/nn/padded_rows.h"

namespace blip2 {

// One pass over the layers with the products in T (float, Bf16 or F16): N packed rows, width D, F
// feed-forward, Q query and K key width. Included by decoder_stack.cpp only.
template <typename T>
class DecoderPass {
 public:
  DecoderPass(const DecoderWeights& weights, const RopeTable& rope,
              const DecoderStack::Offsets& offsets, DecoderActivations& memory, bool keep)
      : weights_(weights),
        c_(weights.config),
        rope_(rope),
        offsets_(offsets),
        memory_(memory),
        keep_(keep),
        n_(offsets.back()) {
    for (std::size_t i = 1; i < offsets.size(); ++i) {
      longest_ = std::max(longest_, offsets[i] - offsets[i - 1]);
      for (Int t = 0; t < offsets[i] - offsets[i - 1]; ++t) positions_.push_back(t);
    }
  }

  at::Tensor forward(const at::Tensor& embeds) {
    std::copy_n(embeds.const_data_ptr<float>(), n_ * d_, input(0));
    for (Int l = 0; l < c_.num_hidden_layers; ++l) {
      attention(l);
      feed_forward(l);
    }
    at::Tensor hidden = at::empty({n_, d_}, at::kFloat);
    over_rows([&](Int i, Int m) {
      norm_rows<float>(input(c_.num_hidden_layers) + i * d_, weights_.norm,
                       hidden.mutable_data_ptr<float>() + i * d_, m, d_, c_.norm_eps);
    });
    return hidden;
  }

  at::Tensor backward(const at::Tensor& gradient) {
    at::Tensor result = at::zeros({n_, d_}, at::kFloat);
    float* const dx = result.mutable_data_ptr<float>();
    over_rows([&](Int i, Int m) {
      norm_rows_backward<float>(input(c_.num_hidden_layers) + i * d_, weights_.norm,
                                gradient.const_data_ptr<float>() + i * d_, dx + i * d_, m, d_,
                                c_.norm_eps);
    });
    for (Int l = c_.num_hidden_layers; l-- > 0;) {
      feed_forward_backward(l, dx);
      attention_backward(l, dx);
    }
    return result;
  }

 private:
  using Int = std::int64_t;

  void attention(Int l) {
    const DecoderLayer& layer = layer_at(l);
    T* const qkv = layer_data(memory_.qkv, l);
    norm(input(l), layer.input_norm);
    multiply(memory_.narrow, d_, layer.qkv, qkv);  // [N, Q + 2 K]
    rotate(qkv, 1.0f);
    over_heads([&](Int row, Int head, const AttentionShape& shape, float* scratch) {
      const T* key = qkv + key_at(row, head);
      k_.attention(qkv + query_at(row, head), key, key + c_.key_width(),
                   data(memory_.narrow) + output_at(row, head), shape, scratch);
    });
    multiply(memory_.narrow, q_, layer.o, data(memory_.delta));  // [N, D]
    add_delta(input(l), middle(l));
  }

  void feed_forward(Int l) {
    const DecoderLayer& layer = layer_at(l);
    T* const gate_up = layer_data(memory_.gate_up, l);
    norm(middle(l), layer.post_norm);
    multiply(memory_.narrow, d_, layer.gate_up, gate_up);  // [N, 2 F] or [N, F]
    over_rows(
        [&](Int i, Int m) { activate<T>(c_, gate_up + i * up_, data(memory_.wide) + i * f_, m); });
    multiply(memory_.wide, f_, layer.down, data(memory_.delta));  // [N, D]
    add_delta(middle(l), input(l + 1));
  }

  void feed_forward_backward(Int l, float* dx) {
    const DecoderLayer& layer = layer_at(l);
    const T* gate_up = layer_data(memory_.gate_up, l);
    T* const dgate_up = data(memory_.dgate_up);
    narrow(dx);
    multiply_back(memory_.narrow, d_, layer.down, data(memory_.wide));  // [N, F]
    over_rows([&](Int i, Int m) {
      activate_backward<T>(c_, gate_up + i * up_, data(memory_.wide) + i * f_, dgate_up + i * up_,
                           m);
    });
    multiply_back(memory_.dgate_up, up_, layer.gate_up, data(memory_.delta));  // [N, D]
    norm_backward(middle(l), layer.post_norm, dx);
  }

  void attention_backward(Int l, float* dx) {
    const DecoderLayer& layer = layer_at(l);
    const T* qkv = layer_data(memory_.qkv, l);
    T* const dqkv = data(memory_.dqkv);
    narrow(dx);
    multiply_back(memory_.narrow, d_, layer.o, data(memory_.delta));  // [N, Q]
    over_heads([&](Int row, Int head, const AttentionShape& shape, float* scratch) {
      const T* key = qkv + key_at(row, head);
      T* const dkey = dqkv + key_at(row, head);
      k_.attention_backward(qkv + query_at(row, head), key, key + c_.key_width(),
                            data(memory_.delta) + output_at(row, head), dqkv + query_at(row, head),
                            dkey, dkey + c_.key_width(), shape, scratch);
    });
    rotate(dqkv, -1.0f);
    multiply_back(memory_.dqkv, width_, layer.qkv, data(memory_.delta));  // [N, D]
    norm_backward(input(l), layer.input_norm, dx);
  }

  // narrow = norm(x)
  void norm(const float* x, const DecoderNorm& norm) {
    over_rows([&](Int i, Int m) {
      norm_rows<T>(x + i * d_, norm, data(memory_.narrow) + i * d_, m, d_, c_.norm_eps);
    });
  }
  void norm_backward(const float* x, const DecoderNorm& norm, float* dx) {
    over_rows([&](Int i, Int m) {
      norm_rows_backward<T>(x + i * d_, norm, data(memory_.delta) + i * d_, dx + i * d_, m, d_,
                            c_.norm_eps);
    });
  }
  void narrow(const float* x) {
    over_rows([&](Int i, Int m) { k_.narrow(x + i * d_, data(memory_.narrow) + i * d_, m * d_); });
  }
  void add_delta(const float* x, float* y) {
    over_rows([&](Int i, Int m) {
      k_.add(x + i * d_, data(memory_.delta) + i * d_, y + i * d_, m * d_);
    });
  }
  void rotate(T* qkv, float sign) {
    if (c_.classic()) return;
    over_rows([&](Int begin, Int count) {
      for (Int row = begin; row < begin + count; ++row) {
        const Int position = positions_[static_cast<std::size_t>(row)];
        k_.rope(qkv + row * width_, rope_.cos(position), rope_.sin(position),
                c_.num_attention_heads + c_.num_key_value_heads, c_.head_dim, sign);
      }
    });
  }
  // y[N, outs] = x[N, width] weight^T + bias
  void multiply(const at::Tensor& x, Int width, const DecoderLinear& linear, T* y) {
    const at::Tensor weight = matrix(linear, x.scalar_type());
    at::Tensor out = at::from_blob(y, {padded_, weight.size(0)}, x.options());
    const at::Tensor rows = at::from_blob(x.mutable_data_ptr(), {padded_, width}, x.options());
    if (linear.int8.defined()) {
      at::mm_out(out, rows, weight.t());
      out.mul_(linear.int8.scale);
      if (linear.bias.defined()) out.add_(linear.bias);
    } else if (linear.bias.defined()) {
      at::addmm_out(out, linear.bias, rows, weight.t());
    } else {
      at::mm_out(out, rows, weight.t());
    }
  }
  // dx[N, ins] = dy[N, width] weight
  void multiply_back(const at::Tensor& dy, Int width, const DecoderLinear& linear, T* dx) {
    const at::Tensor weight = matrix(linear, dy.scalar_type());
    at::Tensor out = at::from_blob(dx, {padded_, weight.size(1)}, dy.options());
    at::Tensor rows = at::from_blob(dy.mutable_data_ptr(), {padded_, width}, dy.options());
    if (linear.int8.defined()) rows = (rows * linear.int8.scale).to(dy.scalar_type());
    at::mm_out(out, rows, weight);
  }
  // As products take it: int8 values, which half precision holds exactly, without their scales.
  static at::Tensor matrix(const DecoderLinear& linear, at::ScalarType type) {
    return linear.int8.defined() ? linear.int8.values.to(type) : linear.weight;
  }

  // body(first row, rows) on all threads
  template <typename Body>
  void over_rows(const Body& body) {
    at::parallel_for(0, n_, 16, [&](Int begin, Int end) { body(begin, end - begin); });
  }
  // body(first row, key/value head, shape, scratch) for every sequence on all threads
  template <typename Body>
  void over_heads(const Body& body) {
    const Int heads = c_.num_key_value_heads, count = static_cast<Int>(offsets_.size()) - 1;
    at::parallel_for(0, count * heads, 1, [&](Int begin, Int end) {
      std::vector<float> scratch(static_cast<std::size_t>(attention_scratch(shape(longest_))));
      for (Int i = begin; i < end; ++i) {
        const auto sequence = static_cast<std::size_t>(i / heads);
        const Int length = offsets_[sequence + 1] - offsets_[sequence];
        if (length > 0) body(offsets_[sequence], i % heads, shape(length), scratch.data());
      }
    });
  }
  AttentionShape shape(Int queries) const {
    return {.start = 0,
            .queries = queries,
            .group = c_.num_attention_heads / c_.num_key_value_heads,
            .head_dim = c_.head_dim,
            .query_stride = width_,
            .key_stride = width_,
            .out_stride = q_,
            .scale = 1.0f / std::sqrt(static_cast<float>(c_.head_dim))};
  }
  Int query_at(Int row, Int head) const {
    return row * width_ + head * (q_ / c_.num_key_value_heads);
  }
  Int key_at(Int row, Int head) const { return row * width_ + q_ + head * c_.head_dim; }
  Int output_at(Int row, Int head) const { return row * q_ + head * (q_ / c_.num_key_value_heads); }

  const DecoderLayer& layer_at(Int l) const { return weights_.layers[static_cast<std::size_t>(l)]; }
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

  const DecoderWeights& weights_;
  const DecoderConfig& c_;
  const RopeTable& rope_;
  const DecoderStack::Offsets& offsets_;
  DecoderActivations& memory_;
  bool keep_;
  Int n_, longest_ = 0;
  const Int padded_ = padded_rows(n_);  // of products; what stands beyond n_ is never read
  std::vector<Int> positions_;
  const Int d_ = c_.hidden_size, f_ = c_.intermediate_size, q_ = c_.query_width();
  const Int width_ = c_.qkv_width(), up_ = c_.up_width();
  const Kernels<T>& k_ = kernels<T>();
};

}  // namespace blip2

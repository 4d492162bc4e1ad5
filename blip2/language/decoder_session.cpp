#include "blip2/language/decoder_session.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "blip2/language/decoder_rows.h"
#include "blip2/nn/kernels/kernels.h"

namespace blip2 {
namespace {

using Int = std::int64_t;

// A matrix among several side by side, whose product takes each row once.
struct Part {
  const DecoderLinear* linear;
  Int column;  // where its outs begin in a row of the result
};

// Adds the bias of [from, to) outs to every row of the result, whose elements are T or f32.
template <typename T>
void add_bias(const float* bias, Int from, Int to, Int rows, T* y, Int y_stride) {
  for (Int row = 0; row < rows; ++row) {
    kernels<T>().add_bias(y + row * y_stride + from, bias + from, 1, to - from);
  }
}

// The product with several matrices, their outs shared out over the threads in runs of a multiple
// of four.
template <typename T>
void multiply(const T* x, Int rows, Int width, std::span<const Part> parts, Store store, void* y,
              Int y_stride) {
  Int total = 0;
  for (const Part& part : parts) total += (part.linear->weight.size(0) + 3) / 4;
  at::parallel_for(0, total, 1, [&](Int begin, Int end) {
    Int first = 0;
    for (const auto& [linear, column] : parts) {
      const Int outs = linear->weight.size(0), fours = (outs + 3) / 4;
      const Int from = std::clamp<Int>(begin - first, 0, fours) * 4;
      const Int to = std::min(std::clamp<Int>(end - first, 0, fours) * 4, outs);
      first += fours;
      if (from >= to) continue;
      const auto* weight = static_cast<const T*>(linear->weight.const_data_ptr());
      const bool narrow = store == Store::value;
      std::byte* const out = static_cast<std::byte*>(y) +
                             column * static_cast<Int>(narrow ? sizeof(T) : sizeof(float));
      kernels<T>().linear(x, rows, width, weight, from, to, store, out, y_stride);
      if (!linear->bias_f32.defined()) continue;
      const float* bias = linear->bias_f32.template const_data_ptr<float>();
      if (narrow) {
        add_bias(bias, from, to, rows, reinterpret_cast<T*>(out), y_stride);
      } else {
        add_bias(bias, from, to, rows, reinterpret_cast<float*>(out), y_stride);
      }
    }
  });
}

// body(first, count) over rows; small counts stay on this thread.
template <typename Body>
void over_rows(Int rows, const Body& body) {
  at::parallel_for(0, rows, 8, [&](Int begin, Int end) { body(begin, end - begin); });
}

// One layer-by-layer run of new tokens through the model.
template <typename T>
class Run {
 public:
  Run(const DecoderWeights& weights, const RopeTable& rope, KvCache& cache,
      std::span<const Int> offsets, float* x, std::uint8_t* memory)
      : weights_(weights), rope_(rope), cache_(cache), offsets_(offsets), x_(x) {
    normed_ = reinterpret_cast<T*>(memory);
    qkv_ = normed_ + n_ * std::max(d_, q_);
    gate_up_ = qkv_ + n_ * width_;
    act_ = gate_up_ + n_ * up_;
  }

  static Int memory_bytes(const DecoderConfig& c, Int tokens) {
    const Int width = std::max(c.hidden_size, c.query_width()) + c.qkv_width();
    return tokens * (width + c.up_width() + c.intermediate_size) * static_cast<Int>(sizeof(T));
  }

  void layers() {
    for (Int l = 0; l < c_.num_hidden_layers; ++l) {
      const DecoderLayer& layer = weights_.layers[static_cast<std::size_t>(l)];
      norm(x_, n_, layer.input_norm);
      multiply<T>(
          normed_, n_, d_,
          std::array<Part, 3>{{{&layer.q, 0}, {&layer.k, q_}, {&layer.v, q_ + c_.key_width()}}},
          Store::value, qkv_, width_);  // [N, Q + 2 K]
      attention(l);
      multiply<T>(normed_, n_, q_, std::array<Part, 1>{{{&layer.o, 0}}}, Store::add_f32, x_, d_);
      norm(x_, n_, layer.post_norm);
      feed_forward(layer);
    }
  }

  // Of the last token of each row: [rows, V].
  void logits(float* out) {
    const Int rows = static_cast<Int>(offsets_.size()) - 1;
    for (Int row = 0; row < rows; ++row) {
      const Int last = offsets_[static_cast<std::size_t>(row) + 1] - 1;
      std::copy_n(x_ + last * d_, d_, x_ + row * d_);
    }
    norm(x_, rows, weights_.norm);
    const DecoderLinear head{weights_.head, {}, {}};
    multiply<T>(normed_, rows, d_, std::array<Part, 1>{{{&head, 0}}}, Store::value_f32, out,
                c_.vocab_size);
  }

 private:
  // The normed rows through the feed-forward, added to x_.
  void feed_forward(const DecoderLayer& layer) {
    if (c_.classic()) {
      multiply<T>(normed_, n_, d_, std::array<Part, 1>{{{&layer.up, 0}}}, Store::value, gate_up_,
                  up_);  // [N, F]
    } else {
      multiply<T>(normed_, n_, d_, std::array<Part, 2>{{{&layer.gate, 0}, {&layer.up, f_}}},
                  Store::value, gate_up_, up_);  // [N, 2 F]
    }
    over_rows(n_, [&](Int i, Int m) { activate<T>(c_, gate_up_ + i * up_, act_ + i * f_, m); });
    multiply<T>(act_, n_, f_, std::array<Part, 1>{{{&layer.down, 0}}}, Store::add_f32, x_, d_);
  }

  void norm(const float* x, Int rows, const DecoderNorm& norm) {
    over_rows(rows, [&](Int i, Int m) {
      norm_rows<T>(x + i * d_, norm, normed_ + i * d_, m, d_, c_.norm_eps);
    });
  }

  // Rotates, moves keys and values into the cache and attends; the result lies in normed_ [N, Q].
  void attention(Int layer) {
    const Int heads = c_.num_key_value_heads, rows = static_cast<Int>(offsets_.size()) - 1;
    at::parallel_for(0, rows * heads, 1, [&](Int begin, Int end) {
      std::vector<float> scratch;
      for (Int i = begin; i < end; ++i) attend(layer, i / heads, i % heads, scratch);
    });
  }

  void attend(Int layer, Int row, Int head, std::vector<float>& scratch) {
    const Int first = offsets_[static_cast<std::size_t>(row)];
    const Int count = offsets_[static_cast<std::size_t>(row) + 1] - first;
    const Int start = cache_.length(row), dim = c_.head_dim, group = group_;
    T* const keys = cache_.keys<T>(row, layer, head);
    T* const values = cache_.values<T>(row, layer, head);
    for (Int t = 0; t < count; ++t) {
      T* const token = qkv_ + (first + t) * width_;
      T* const key = token + q_ + head * dim;
      if (!c_.classic()) {
        const float *cos = rope_.cos(start + t), *sin = rope_.sin(start + t);
        k_.rope(token + head * group * dim, cos, sin, group, dim, 1.0f);
        k_.rope(key, cos, sin, 1, dim, 1.0f);
      }
      std::copy_n(key, dim, keys + (start + t) * dim);
      std::copy_n(key + c_.key_width(), dim, values + (start + t) * dim);
    }
    const AttentionShape shape{.start = start,
                               .queries = count,
                               .group = group,
                               .head_dim = dim,
                               .query_stride = width_,
                               .key_stride = dim,
                               .out_stride = q_,
                               .scale = 1.0f / std::sqrt(static_cast<float>(dim))};
    scratch.resize(static_cast<std::size_t>(attention_scratch(shape)));
    k_.attention(qkv_ + first * width_ + head * group * dim, keys, values,
                 normed_ + first * q_ + head * group * dim, shape, scratch.data());
  }

  const DecoderWeights& weights_;
  const DecoderConfig& c_ = weights_.config;
  const RopeTable& rope_;
  KvCache& cache_;
  std::span<const Int> offsets_;
  float* x_;
  const Int n_ = offsets_.back(), d_ = c_.hidden_size, f_ = c_.intermediate_size;
  const Int q_ = c_.query_width(), width_ = c_.qkv_width(), up_ = c_.up_width();
  const Int group_ = c_.num_attention_heads / c_.num_key_value_heads;
  const Kernels<T>& k_ = kernels<T>();
  T *normed_, *qkv_, *gate_up_, *act_;
};

}  // namespace

DecoderSession::DecoderSession(std::shared_ptr<const DecoderWeights> weights, std::int64_t capacity)
    : weights_(std::move(weights)),
      rope_(weights_->config),
      cache_({weights_->config.num_hidden_layers, weights_->config.num_key_value_heads,
              weights_->config.head_dim, at::elementSize(weights_->dtype)},
             capacity) {}

std::span<const float> DecoderSession::prompt(const at::Tensor& embeds,
                                              std::span<const std::int64_t> offsets) {
  TORCH_CHECK(embeds.dim() == 2 && embeds.size(1) == weights_->config.hidden_size,
              "embeds: expected [N, ", weights_->config.hidden_size, "], got ", embeds.sizes());
  TORCH_CHECK(offsets.size() > 1 && offsets.front() == 0 && offsets.back() == embeds.size(0),
              "offsets must run from 0 to the number of embeddings");
  for (std::size_t i = 1; i < offsets.size(); ++i) {
    TORCH_CHECK(offsets[i] > offsets[i - 1], "row ", i - 1, " has no embeddings");
  }
  const auto rows = static_cast<std::int64_t>(offsets.size()) - 1;
  if (cache_.rows() == 0) cache_.add_rows(rows);
  TORCH_CHECK(cache_.rows() == rows, "expected ", cache_.rows(), " rows, got ", rows);
  const at::Tensor values = embeds.detach().to(at::kFloat).contiguous();
  const float* data = values.const_data_ptr<float>();
  x_.assign(data, data + values.numel());
  return run(offsets);
}

std::span<const float> DecoderSession::advance(std::span<const std::int32_t> tokens) {
  TORCH_CHECK(static_cast<std::int64_t>(tokens.size()) == cache_.rows(), "expected ", cache_.rows(),
              " tokens, got ", tokens.size());
  const std::int64_t width = weights_->config.hidden_size;
  std::vector<std::int64_t> offsets = {0};
  x_.resize(tokens.size() * static_cast<std::size_t>(width));
  const auto* table = static_cast<const std::byte*>(weights_->embeddings.const_data_ptr());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    TORCH_CHECK(tokens[i] >= 0 && tokens[i] < vocabulary(), "token ", tokens[i],
                " is not in the vocabulary");
    float* const row = x_.data() + static_cast<std::int64_t>(i) * width;
    if (weights_->dtype == at::kFloat) {
      std::copy_n(reinterpret_cast<const float*>(table) + tokens[i] * width, width, row);
    } else if (weights_->dtype == at::kHalf) {
      std::copy_n(reinterpret_cast<const at::Half*>(table) + tokens[i] * width, width, row);
    } else {
      const auto* from = reinterpret_cast<const at::BFloat16*>(table) + tokens[i] * width;
      std::copy_n(from, width, row);
    }
    offsets.push_back(offsets.back() + 1);
  }
  return run(offsets);
}

std::span<const float> DecoderSession::run(std::span<const std::int64_t> offsets) {
  if (weights_->dtype == at::kFloat) return run<float>(offsets);
  return weights_->dtype == at::kHalf ? run<F16>(offsets) : run<Bf16>(offsets);
}

template <typename T>
void DecoderSession::add_positions(std::span<const std::int64_t> offsets) {
  const std::int64_t width = weights_->config.hidden_size;
  const auto* table = static_cast<const T*>(weights_->positions.const_data_ptr());
  for (std::int64_t row = 0; row < rows(); ++row) {
    const auto i = static_cast<std::size_t>(row);
    const std::int64_t first = weights_->config.position_offset() + cache_.length(row);
    float* const x = x_.data() + offsets[i] * width;
    kernels<T>().add(x, table + first * width, x, (offsets[i + 1] - offsets[i]) * width);
  }
}

template <typename T>
std::span<const float> DecoderSession::run(std::span<const std::int64_t> offsets) {
  for (std::int64_t row = 0; row < rows(); ++row) {
    const auto i = static_cast<std::size_t>(row);
    const std::int64_t count = offsets[i + 1] - offsets[i];
    require_length(weights_->config, cache_.length(row) + count);
    cache_.reserve(row, count);
    rope_.reserve(cache_.length(row) + count);
  }
  if (weights_->positions.defined()) add_positions<T>(offsets);
  scratch_.resize(static_cast<std::size_t>(Run<T>::memory_bytes(weights_->config, offsets.back())));
  logits_.resize(static_cast<std::size_t>(rows() * vocabulary()));
  Run<T> pass(*weights_, rope_, cache_, offsets, x_.data(), scratch_.data());
  pass.layers();
  pass.logits(logits_.data());
  for (std::int64_t row = 0; row < rows(); ++row) {
    const auto i = static_cast<std::size_t>(row);
    cache_.extend(row, offsets[i + 1] - offsets[i]);
  }
  return logits_;
}

}  // namespace blip2

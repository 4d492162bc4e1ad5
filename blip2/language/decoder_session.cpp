#include "blip2/language/decoder_session_internal.h"

#include <algorithm>
#include <utility>

#include "blip2/language/decoder_layers_internal.h"
#include "blip2/nn/element_type.h"

namespace blip2 {
namespace {

using Offsets = std::span<const std::int64_t>;

// The places of new tokens, which continue the rows of the cache.
std::vector<TokenPlace> places_of(const KvCache& cache, const RopeTable& rope, Offsets offsets) {
  std::vector<TokenPlace> places;
  for (std::size_t row = 0; row + 1 < offsets.size(); ++row) {
    const std::int64_t start = cache.length(static_cast<std::int64_t>(row));
    const std::int64_t end = start + offsets[row + 1] - offsets[row];
    for (std::int64_t t = start; t < end; ++t) places.push_back({t, rope.is_long(end)});
  }
  return places;
}

// Leaves out the first keys of all.
template <typename T>
void leave_out(std::int64_t keys, std::int64_t dim, std::vector<CachedKeys<T>>& lists) {
  for (CachedKeys<T>& list : lists) {
    const std::int64_t out = std::min(keys, list.count);
    list = {list.keys + out * dim, list.values + out * dim, list.count - out};
    keys -= out;
  }
}

// The layers over new tokens, whose keys and values are added to the cache: every row is computed
// by itself in one fixed order.
template <typename T>
class CachedLayers : DecoderLayers<T> {
  using Layers = DecoderLayers<T>;
  using Layers::c_, Layers::d_, Layers::k_, Layers::n_, Layers::q_, Layers::weights_,
      Layers::width_;
  using typename Layers::Int;
  using typename Layers::Values;

 public:
  CachedLayers(const DecoderWeights& weights, const RopeTable& rope, KvCache& cache,
               Offsets offsets, float* x, std::vector<std::uint8_t>& memory)
      : Layers(weights, rope, places_of(cache, rope, offsets)),
        cache_(cache),
        offsets_(offsets),
        x_(x) {
    const Int normed = std::max(d_, q_), total = normed + width_ + this->up_ + this->f_;
    const auto products = static_cast<std::size_t>(c_.norm_after ? n_ * d_ : 0) * sizeof(float);
    memory.resize(products + static_cast<std::size_t>(n_ * total) * sizeof(T));
    product_ = reinterpret_cast<float*>(memory.data());
    values_ = {};
    values_.normed = reinterpret_cast<T*>(memory.data() + products);
    values_.qkv = values_.normed + n_ * normed;
    values_.gate_up = values_.qkv + n_ * width_;
    values_.act = values_.gate_up + n_ * this->up_;
  }

  void run() {
    for (Int l = 0; l < c_.num_hidden_layers; ++l) {
      this->attention(l, values_, x_, x_);
      this->feed_forward(l, values_, x_, x_);
    }
  }

  // The states of all tokens after the final norm: [N, D].
  void states(float* out) const { this->norm(weights_.norm, x_, n_, out); }

  // The logits of the last token of each row: [rows, V].
  void logits(float* out) {
    const Int rows = std::ssize(offsets_) - 1;
    for (Int row = 0; row < rows; ++row) {
      const Int last = offsets_[static_cast<std::size_t>(row) + 1] - 1;
      std::copy_n(x_ + last * d_, d_, x_ + row * d_);
    }
    this->norm(weights_.norm, x_, rows, values_.normed);
    weights_.head.each_row(values_.normed, rows, Store::value_f32, out, c_.vocab_size);
  }

 private:
  struct Scratch {
    std::vector<float> floats;
    std::vector<CachedKeys<T>> lists;
  };

  void multiply(const T* x, const Linear& linear, T* y) override {
    linear.each_row(x, n_, Store::value, y, linear.outs());
  }
  void add_product(const T* x, const Linear& linear, const Norm& behind, T* /*kept*/,
                   const float* from, float* y) override {
    TORCH_CHECK(from == y, "the residual is added to in place");
    if (!behind.defined()) return linear.each_row(x, n_, Store::add_f32, y, d_);
    linear.each_row(x, n_, Store::value_f32, product_, d_);
    this->over_rows(n_, [&](Int i, Int m) {
      float* const product = product_ + i * d_;
      behind.each_row(product, product, m);
      kernels<float>().add(y + i * d_, product, y + i * d_, m * d_);
    });
  }

  void attend(Int layer, const T* qkv, T* out) override {
    const Int heads = c_.num_key_value_heads, rows = std::ssize(offsets_) - 1;
    at::parallel_for(0, rows * heads, 1, [&](Int begin, Int end) {
      Scratch scratch;
      for (Int i = begin; i < end; ++i) attend_head(layer, i % rows, i / rows, qkv, out, scratch);
    });
  }

  // Moves a head's keys and values of one row into the cache and attends. Whether the row has one
  // new token or more decides how, whatever the other rows have.
  void attend_head(Int layer, Int row, Int head, const T* qkv, T* out, Scratch& scratch) {
    const Int first = offsets_[static_cast<std::size_t>(row)];
    const Int count = offsets_[static_cast<std::size_t>(row) + 1] - first;
    const Int start = cache_.length(row) - cache_.shared(row), dim = c_.head_dim;
    const Int group = c_.num_attention_heads / c_.num_key_value_heads;
    T* const keys = cache_.keys<T>(row, layer, head);
    T* const values = cache_.values<T>(row, layer, head);
    for (Int t = 0; t < count; ++t) {
      const T* key = qkv + (first + t) * width_ + q_ + head * dim;
      std::copy_n(key, dim, keys + (start + t) * dim);
      std::copy_n(key + c_.key_width(), dim, values + (start + t) * dim);
    }
    const float scale = c_.attention_scale();
    const Int window = c_.window_of(layer), all = cache_.length(row) + 1;
    const T* const query = qkv + first * width_ + head * group * dim;
    T* const seen = out + first * q_ + head * group * dim;
    if (count == 1) {
      cache_.list(row, layer, head, start + 1, scratch.lists);
      if (window > 0 && window < all) leave_out(all - window, dim, scratch.lists);
      scratch.floats.resize(static_cast<std::size_t>(token_attention_scratch(all, dim)));
      return k_.attend_token({.q = query,
                              .out = seen,
                              .group = group,
                              .head_dim = dim,
                              .lists = scratch.lists.data(),
                              .count = std::ssize(scratch.lists),
                              .scale = scale},
                             scratch.floats.data());
    }
    const AttentionShape shape{.start = start,
                               .queries = count,
                               .group = group,
                               .head_dim = dim,
                               .query_stride = width_,
                               .key_stride = dim,
                               .out_stride = q_,
                               .scale = scale,
                               .window = window};
    scratch.floats.resize(static_cast<std::size_t>(attention_scratch(shape)));
    k_.attention(query, keys, values, seen, shape, scratch.floats.data());
  }

  KvCache& cache_;
  Offsets offsets_;
  float *x_, *product_;  // [N, D]
  Values values_;
};

}  // namespace

DecoderSession::DecoderSession(std::shared_ptr<const DecoderWeights> weights, std::int64_t capacity)
    : weights_(std::move(weights)),
      rope_(weights_->config),
      cache_({weights_->config.num_hidden_layers, weights_->config.num_key_value_heads,
              weights_->config.head_dim, at::elementSize(weights_->dtype)},
             capacity) {}

void DecoderSession::take(const at::Tensor& embeds, std::span<const std::int64_t> offsets) {
  TORCH_CHECK(embeds.dim() == 2 && embeds.size(1) == weights_->config.hidden_size,
              "embeds: expected [N, ", weights_->config.hidden_size, "], got ", embeds.sizes());
  TORCH_CHECK(offsets.size() > 1 && offsets.front() == 0 && offsets.back() == embeds.size(0),
              "offsets must run from 0 to the number of embeddings");
  for (std::size_t i = 1; i < offsets.size(); ++i) {
    TORCH_CHECK(offsets[i] > offsets[i - 1], "row ", i - 1, " has no embeddings");
  }
  const auto rows = static_cast<std::int64_t>(offsets.size()) - 1;
  if (cache_.rows() == 0) {
    cache_.add_rows(rows);
    history_.add_rows(rows);
  }
  TORCH_CHECK(cache_.rows() == rows, "expected ", cache_.rows(), " rows, got ", rows);
  const at::Tensor values = embeds.detach().to(at::kFloat).contiguous();
  const float* data = values.const_data_ptr<float>();
  x_.assign(data, data + values.numel());
}

std::span<const float> DecoderSession::prompt(const at::Tensor& embeds,
                                              std::span<const std::int64_t> offsets) {
  take(embeds, offsets);
  const std::span<const float> logits = logits_after(offsets);
  const at::Tensor values = embeds.detach().to(at::kFloat);
  for (std::int64_t row = 0; row < rows(); ++row) {
    const auto i = static_cast<std::size_t>(row);
    if (!remembers(row)) continue;
    history_.add(row, values.narrow(0, offsets[i], offsets[i + 1] - offsets[i]).contiguous());
  }
  return logits;
}

at::Tensor DecoderSession::read(const at::Tensor& embeds, std::span<const std::int64_t> offsets) {
  TORCH_CHECK(rows() == 0, "only a new session reads texts");
  take(embeds, offsets);
  const at::Tensor states = at::empty(embeds.sizes(), at::kFloat);
  with_element(weights_->dtype, [&]<typename T>() {
    run<T>(offsets, [&](auto& layers) { layers.states(states.mutable_data_ptr<float>()); });
  });
  return states;
}

std::span<const float> DecoderSession::advance(std::span<const std::int32_t> tokens) {
  TORCH_CHECK(static_cast<std::int64_t>(tokens.size()) == cache_.rows(), "expected ", cache_.rows(),
              " tokens, got ", tokens.size());
  const std::int64_t width = weights_->config.hidden_size;
  std::vector<std::int64_t> offsets = {0};
  x_.resize(tokens.size() * static_cast<std::size_t>(width));
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    TORCH_CHECK(tokens[i] >= 0 && tokens[i] < vocabulary(), "token ", tokens[i],
                " is not in the vocabulary");
    weights_->embeddings.read(tokens[i], x_.data() + static_cast<std::int64_t>(i) * width);
    offsets.push_back(offsets.back() + 1);
  }
  const std::span<const float> logits = logits_after(offsets);
  for (std::int64_t row = 0; row < rows(); ++row) {
    if (remembers(row)) history_.add(row, tokens[static_cast<std::size_t>(row)]);
  }
  return logits;
}

void DecoderSession::select(std::span<const std::int32_t> sources) {
  cache_.select(sources);
  history_.select(sources);
}

void DecoderSession::join(LanguageSession& other) {
  auto* const session = dynamic_cast<DecoderSession*>(&other);
  TORCH_CHECK(session && session != this && session->weights_ == weights_,
              "only another session of the same model can join");
  cache_.join(session->cache_);
  history_.join(session->history_);
}

bool DecoderSession::remembers(std::int64_t row) {
  if (rope_.longest_short() == 0) return false;
  const bool is_long = rope_.is_long(cache_.length(row));
  if (is_long) history_.forget(row);
  return !is_long;
}

bool DecoderSession::becomes_long(std::int64_t row, std::int64_t count) const {
  const std::int64_t length = cache_.length(row);
  return length > 0 && !rope_.is_long(length) && rope_.is_long(length + count);
}

std::vector<std::int64_t> DecoderSession::begin_long_rows(std::span<const std::int64_t> offsets) {
  std::vector<std::int64_t> all = {0};
  std::vector<float> x;
  const auto width = static_cast<std::size_t>(weights_->config.hidden_size);
  for (std::int64_t row = 0; row < rows(); ++row) {
    const auto i = static_cast<std::size_t>(row);
    if (becomes_long(row, offsets[i + 1] - offsets[i])) {
      history_.append(row, weights_->embeddings, x);
      cache_.restart(row);
    }
    const auto at = [&](std::int64_t offset) {
      return x_.begin() + static_cast<std::ptrdiff_t>(width) * offset;
    };
    x.insert(x.end(), at(offsets[i]), at(offsets[i + 1]));
    all.push_back(static_cast<std::int64_t>(x.size() / width));
  }
  x_ = std::move(x);
  return all;
}

std::span<const float> DecoderSession::logits_after(std::span<const std::int64_t> offsets) {
  bool any = false;
  for (std::int64_t row = 0; row < rows(); ++row) {
    const auto i = static_cast<std::size_t>(row);
    any |= becomes_long(row, offsets[i + 1] - offsets[i]);
  }
  std::vector<std::int64_t> all;
  if (any) offsets = all = begin_long_rows(offsets);
  logits_.resize(static_cast<std::size_t>(rows() * vocabulary()));
  with_element(weights_->dtype, [&]<typename T>() {
    run<T>(offsets, [&](auto& layers) { layers.logits(logits_.data()); });
  });
  return logits_;
}

template <typename T>
void DecoderSession::add_positions(std::span<const std::int64_t> offsets) {
  const std::int64_t width = weights_->config.hidden_size;
  const auto* table = static_cast<const T*>(weights_->positions.const_data_ptr());
  for (std::int64_t row = 0; row < rows(); ++row) {
    const auto i = static_cast<std::size_t>(row);
    const std::int64_t first = weights_->config.position_offset + cache_.length(row);
    float* const x = x_.data() + offsets[i] * width;
    kernels<T>().add(x, table + first * width, x, (offsets[i + 1] - offsets[i]) * width);
  }
}

template <typename T, typename Use>
void DecoderSession::run(std::span<const std::int64_t> offsets, const Use& use) {
  for (std::int64_t row = 0; row < rows(); ++row) {
    const auto i = static_cast<std::size_t>(row);
    const std::int64_t count = offsets[i + 1] - offsets[i];
    require_length(weights_->config, cache_.length(row) + count);
    if (count > 1) cache_.own_all(row);
    cache_.reserve(row, count);
    rope_.reserve(cache_.length(row) + count);
  }
  if (weights_->positions.defined()) add_positions<T>(offsets);
  CachedLayers<T> layers(*weights_, rope_, cache_, offsets, x_.data(), scratch_);
  layers.run();
  use(layers);
  for (std::int64_t row = 0; row < rows(); ++row) {
    const auto i = static_cast<std::size_t>(row);
    cache_.extend(row, offsets[i + 1] - offsets[i]);
  }
}

}  // namespace blip2

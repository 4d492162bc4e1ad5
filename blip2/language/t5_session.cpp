#include "blip2/language/t5_session_internal.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "blip2/language/t5_layers_internal.h"

namespace blip2 {
namespace {

using Int = std::int64_t;

// The decoder's own keys and values, in f32.
KvShape cache_shape(const T5Config& config) {
  return {config.num_decoder_layers, config.num_heads, config.d_kv, sizeof(float)};
}

// Sixteen sums side by side, for the compiler to keep in vector registers.
float dot(const float* a, const float* b, Int count) {
  constexpr Int kLanes = 16;
  float sums[kLanes] = {};
  Int i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (Int l = 0; l < kLanes; ++l) sums[l] += a[i + l] * b[i + l];
  }
  float sum = 0;
  for (; i < count; ++i) sum += a[i] * b[i];
  for (const float part : sums) sum += part;
  return sum;
}

}  // namespace

// One head's keys and values, a token every `stride` floats.
struct T5Session::Keys {
  const float *keys, *values;
  Int count, stride, dim;

  // out = softmax(q k + bias) v; bias[distance from the last token] or null.
  void attend(const float* q, const float* bias, float* out) const {
    std::vector<float> scores(static_cast<std::size_t>(count));
    float peak = -INFINITY;
    for (Int t = 0; t < count; ++t) {
      float& score = scores[static_cast<std::size_t>(t)];
      score = dot(q, keys + t * stride, dim) + (bias ? bias[count - 1 - t] : 0.0f);
      peak = std::max(peak, score);
    }
    float total = 0;
    for (float& score : scores) total += score = std::exp(score - peak);
    std::fill_n(out, dim, 0.0f);
    for (Int t = 0; t < count; ++t) {
      const float share = scores[static_cast<std::size_t>(t)] / total;
      for (Int d = 0; d < dim; ++d) out[d] += share * values[t * stride + d];
    }
  }
};

T5Session::T5Session(std::shared_ptr<const T5> model, std::int64_t capacity)
    : model_(std::move(model)),
      cache_(cache_shape(model_->config()), capacity, /*sharing=*/false) {}

std::span<const float> T5Session::prompt(const at::Tensor& embeds,
                                         std::span<const std::int64_t> offsets) {
  const torch::NoGradGuard no_grad;
  return start(model_->encode(embeds, offsets), offsets);
}

std::span<const float> T5Session::start(const at::Tensor& states,
                                        std::span<const std::int64_t> offsets) {
  const torch::NoGradGuard no_grad;
  TORCH_CHECK(cache_.rows() == 0, "the session has its rows already");
  TORCH_CHECK(offsets.size() > 1 && offsets.front() == 0 && offsets.back() == states.size(0),
              "offsets must run from 0 to the number of states");
  const at::Tensor narrow = states.to(model_->dtype());
  const auto memory = std::make_shared<Memory>();
  for (const T5Layer& layer : model_->weights()->decoder.layers) {
    memory->keys.push_back(t5_linear(narrow, layer.cross.k).to(at::kFloat));
    memory->values.push_back(t5_linear(narrow, layer.cross.v).to(at::kFloat));
  }
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    TORCH_CHECK(offsets[i + 1] > offsets[i], "row ", i, " has no states");
    sources_.push_back({memory, offsets[i], offsets[i + 1] - offsets[i]});
  }
  cache_.add_rows(static_cast<Int>(sources_.size()));
  return advance(
      std::vector<std::int32_t>(sources_.size(), model_->config().decoder_start_token_id));
}

void T5Session::select(std::span<const std::int32_t> sources) {
  std::vector<Source> selected;
  for (const std::int32_t row : sources)
    selected.push_back(sources_.at(static_cast<std::size_t>(row)));
  sources_ = std::move(selected);
  cache_.select(sources);
}

void T5Session::join(LanguageSession& other) {
  auto* const session = dynamic_cast<T5Session*>(&other);
  TORCH_CHECK(session && session != this && session->model_ == model_,
              "only another session of the same model can join");
  cache_.join(session->cache_);
  for (Source& source : session->sources_) sources_.push_back(std::move(source));
  session->sources_.clear();
}

// What the decoder adds to the scores of keys at distances 0 to length - 1.
const float* T5Session::distance_bias(Int head, Int length) {
  const auto& weights = *model_->weights();
  if (!bias_.defined() || bias_.size(1) < length) {
    const at::Tensor distance = -at::arange(std::max<Int>(2 * length, 64), at::kLong);
    const at::Tensor buckets = t5_buckets(distance, false, weights.config);
    bias_ = weights.decoder.bias.to(at::kFloat).index({buckets}).t().contiguous();
  }
  return bias_.const_data_ptr<float>() + head * bias_.size(1);
}

template <typename Body>
void T5Session::over_heads(const Body& body) {
  const Int heads = model_->config().num_heads;
  at::parallel_for(0, rows() * heads, 1, [&](Int begin, Int end) {
    for (Int i = begin; i < end; ++i) body(i / heads, i % heads);
  });
}

void T5Session::attend_self(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            Int layer, at::Tensor& out) {
  const Int dim = model_->config().d_kv, width = q.size(1);
  const float *queries = q.const_data_ptr<float>(), *keys = k.const_data_ptr<float>(),
              *values = v.const_data_ptr<float>();
  float* mixed = out.mutable_data_ptr<float>();
  Int most = 0;
  for (Int row = 0; row < rows(); ++row) most = std::max(most, cache_.length(row) + 1);
  distance_bias(0, most);  // before the threads
  over_heads([&](Int row, Int head) {
    const Int at = row * width + head * dim, length = cache_.length(row);
    float* const cached_keys = cache_.keys<float>(row, layer, head);
    float* const cached_values = cache_.values<float>(row, layer, head);
    std::copy_n(keys + at, dim, cached_keys + length * dim);
    std::copy_n(values + at, dim, cached_values + length * dim);
    const Keys all{cached_keys, cached_values, length + 1, dim, dim};
    all.attend(queries + at, distance_bias(head, length + 1), mixed + at);
  });
}

void T5Session::attend_cross(const at::Tensor& q, std::size_t layer, at::Tensor& out) {
  const Int dim = model_->config().d_kv, width = q.size(1);
  const float* queries = q.const_data_ptr<float>();
  float* mixed = out.mutable_data_ptr<float>();
  over_heads([&](Int row, Int head) {
    const Source& source = sources_[static_cast<std::size_t>(row)];
    const Int from = source.begin * width + head * dim, at = row * width + head * dim;
    const float* keys = source.memory->keys[layer].const_data_ptr<float>() + from;
    const float* values = source.memory->values[layer].const_data_ptr<float>() + from;
    const Keys all{keys, values, source.count, width, dim};
    all.attend(queries + at, nullptr, mixed + at);
  });
}

std::span<const float> T5Session::advance(std::span<const std::int32_t> tokens) {
  const torch::NoGradGuard no_grad;
  const T5Weights& w = *model_->weights();
  TORCH_CHECK(static_cast<Int>(tokens.size()) == rows(), "expected ", rows(), " tokens, got ",
              tokens.size());
  for (const std::int32_t token : tokens) {
    TORCH_CHECK(token >= 0 && token < vocabulary(), "token ", token, " is not in the vocabulary");
  }
  for (Int row = 0; row < rows(); ++row) cache_.reserve(row, 1);
  at::Tensor x = model_->embed(
      at::tensor(std::vector<std::int64_t>(tokens.begin(), tokens.end()), at::kLong));  // [R, D]
  at::Tensor mixed = at::empty({rows(), w.config.inner_width()}, at::kFloat);
  const auto product = [&](const at::Tensor& from, const Linear& linear) {
    return t5_linear(from.to(w.dtype), linear).to(at::kFloat);
  };
  for (std::size_t i = 0; i < w.decoder.layers.size(); ++i) {
    const T5Layer& layer = w.decoder.layers[i];
    const at::Tensor own = t5_norm(x, layer.self.norm, w.dtype);
    attend_self(product(own, layer.self.q), product(own, layer.self.k), product(own, layer.self.v),
                static_cast<Int>(i), mixed);
    x = x + product(mixed, layer.self.o);
    const at::Tensor other = t5_norm(x, layer.cross.norm, w.dtype);
    attend_cross(product(other, layer.cross.q), i, mixed);
    x = x + product(mixed, layer.cross.o);
    x = t5_feed_forward(x, layer.feed_forward, w.dtype);
  }
  logits_ = model_->logits(t5_norm(x, w.decoder.norm, at::kFloat)).contiguous();
  for (Int row = 0; row < rows(); ++row) cache_.extend(row, 1);
  return {logits_.const_data_ptr<float>(), static_cast<std::size_t>(logits_.numel())};
}

}  // namespace blip2

#include "blip2/language/t5_layers_internal.h"

#include <ATen/Parallel.h>

#include <cmath>

namespace blip2 {
namespace {

using Int = std::int64_t;

bool differentiates(const at::Tensor& x) {
  return at::GradMode::is_enabled() && x.requires_grad();
}

// Hendrycks and Gimpel's exact and tanh forms, one element at a time: ATen's vectors and their
// remainders round differently, and where they lie depends on the rows beside.
float exact_gelu(float x) {
  constexpr float root = 0.7071067811865476f;  // 1 / sqrt(2)
  return 0.5f * x * (1.0f + std::erf(root * x));
}
float gelu(float x) {
  constexpr float root = 0.7978845608028654f;  // sqrt(2 / pi)
  return 0.5f * x * (1.0f + std::tanh(root * (x + 0.044715f * x * x * x)));
}

at::Tensor gated(const at::Tensor& gate, const at::Tensor& up, bool exact) {
  if (differentiates(gate) || differentiates(up)) {
    return at::gelu(gate.to(at::kFloat), exact ? "none" : "tanh") * up.to(at::kFloat);
  }
  const at::Tensor g = gate.to(at::kFloat).contiguous(), u = up.to(at::kFloat).contiguous();
  at::Tensor out = at::empty_like(g);
  const float *from = g.const_data_ptr<float>(), *factor = u.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  at::parallel_for(0, g.numel(), 4096, [&](Int begin, Int end) {
    for (Int i = begin; i < end; ++i) {
      to[i] = (exact ? exact_gelu(from[i]) : gelu(from[i])) * factor[i];
    }
  });
  return out;
}

}  // namespace

at::Tensor t5_linear(const at::Tensor& x, const Linear& linear) {
  const bool trains = at::GradMode::is_enabled() && linear.trains();
  return trains || differentiates(x) ? linear(x) : linear.each_row(x);
}

at::Tensor t5_norm(const at::Tensor& x, const Norm& norm, at::ScalarType type) {
  return differentiates(x) ? norm(x).to(type) : norm.each_row(x, type);
}

at::Tensor t5_feed_forward(const at::Tensor& x, const T5FeedForward& weights, at::ScalarType type) {
  const at::Tensor normed = t5_norm(x, weights.norm, type);  // [N, D]
  const at::Tensor up = t5_linear(normed, weights.up);       // [N, F]
  const at::Tensor act = weights.gate.defined()
                             ? gated(t5_linear(normed, weights.gate), up, weights.exact_gelu)
                             : at::relu(up);
  return x + t5_linear(act.to(type), weights.down).to(at::kFloat);
}

at::Tensor t5_buckets(const at::Tensor& distance, bool both_ways, const T5Config& config) {
  Int buckets = config.relative_attention_num_buckets;
  at::Tensor first = at::zeros_like(distance), away = distance.neg().clamp_min(0);
  if (both_ways) {
    buckets /= 2;
    first = (distance > 0).to(at::kLong) * buckets;
    away = distance.abs();
  }
  const Int exact = buckets / 2;  // each small distance has its own, the rest logarithmic ones
  const double range =
      std::log(static_cast<double>(config.relative_attention_max_distance) / exact);
  const at::Tensor large =
      exact + (at::log(away.to(at::kFloat) / exact) / range * (buckets - exact)).to(at::kLong);
  return first + at::where(away < exact, away, large.clamp_max(buckets - 1));
}

at::Tensor t5_position_bias(const T5Stack& stack, bool decoder, std::int64_t length,
                            const T5Config& config) {
  const at::Tensor places = at::arange(length, at::kLong);
  const at::Tensor distance = places.unsqueeze(0) - places.unsqueeze(1);  // key - query
  const at::Tensor buckets = t5_buckets(distance, !decoder, config);
  at::Tensor bias = stack.bias.to(at::kFloat).index({buckets}).permute({2, 0, 1});  // [H, T, T]
  if (decoder) bias = bias.masked_fill(distance > 0, -INFINITY);
  return bias.contiguous();
}

at::Tensor t5_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        std::int64_t heads, const at::Tensor& bias) {
  const auto split = [&](const at::Tensor& x) {  // [T, H K] -> [H, T, K]
    return x.to(at::kFloat).view({x.size(0), heads, -1}).transpose(0, 1);
  };
  at::Tensor scores = at::matmul(split(q), split(k).transpose(1, 2));  // [H, Tq, Tk]
  if (bias.defined()) scores = scores + bias;
  const at::Tensor mixed = at::matmul(at::softmax(scores, -1), split(v));  // [H, Tq, K]
  return mixed.transpose(0, 1).reshape({q.size(0), q.size(1)}).to(q.scalar_type());
}

}  // namespace blip2

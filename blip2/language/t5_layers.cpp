#include "blip2/language/t5_layers.h"

#include <ATen/Parallel.h>

#include <cmath>

#include "blip2/nn/kernels/kernels.h"

namespace blip2 {
namespace {

using Int = std::int64_t;

bool differentiates(const at::Tensor& x) {
  return at::GradMode::is_enabled() && x.requires_grad();
}

template <typename T>
void multiply(const at::Tensor& x, const at::Tensor& weight, at::Tensor& y) {
  const Int rows = x.size(0), width = x.size(1), outs = weight.size(0);
  const auto* from = static_cast<const T*>(x.const_data_ptr());
  const auto* matrix = static_cast<const T*>(weight.const_data_ptr());
  void* to = y.mutable_data_ptr();
  at::parallel_for(0, (outs + 3) / 4, 1, [&](Int begin, Int end) {
    kernels<T>().linear(from, rows, width, matrix, begin * 4, std::min(end * 4, outs), Store::value,
                        to, outs);
  });
}

template <typename T>
void normalise(const at::Tensor& x, const at::Tensor& weight, float eps, at::Tensor& y) {
  const Int width = x.size(1);
  const float* from = x.const_data_ptr<float>();
  auto* to = static_cast<T*>(y.mutable_data_ptr());
  at::parallel_for(0, x.size(0), 8, [&](Int begin, Int end) {
    kernels<T>().rms_norm(from + begin * width, weight.const_data_ptr<float>(), to + begin * width,
                          end - begin, width, eps);
  });
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

// x [N, in] times weight^T, both of one type.
at::Tensor product(const at::Tensor& x, const at::Tensor& weight) {
  const at::Tensor rows = x.contiguous();
  at::Tensor y = at::empty({x.size(0), weight.size(0)}, weight.options().requires_grad(false));
  if (weight.scalar_type() == at::kFloat) {
    multiply<float>(rows, weight, y);
  } else {
    multiply<Bf16>(rows, weight, y);
  }
  return y;
}

// The product that keeps no wider copy of an int8 matrix for the backward pass.
struct Int8Product : torch::autograd::Function<Int8Product> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x,
                            const at::Tensor& values, const at::Tensor& scale) {
    ctx->save_for_backward({values, scale});
    return at::mm(x, values.to(x.scalar_type()).t()).mul_(scale);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = ctx->get_saved_variables();
    const at::ScalarType type = gradients[0].scalar_type();
    const at::Tensor dy = (gradients[0] * saved[1]).to(type);
    return {at::mm(dy, saved[0].to(type)), at::Tensor(), at::Tensor()};
  }
};

at::Tensor gated(const at::Tensor& gate, const at::Tensor& up, bool exact) {
  if (differentiates(gate)) {
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

at::Tensor t5_linear(const at::Tensor& x, const T5Matrix& matrix) {
  if (differentiates(x)) {
    if (!matrix.int8.defined()) return at::linear(x, matrix.weight);
    return Int8Product::apply(x, matrix.int8.values, matrix.int8.scale);
  }
  if (!matrix.int8.defined()) return product(x, matrix.weight);
  return product(x, matrix.int8.values.to(x.scalar_type())).mul_(matrix.int8.scale);
}

at::Tensor t5_norm(const at::Tensor& x, const T5Norm& norm, float eps, at::ScalarType type) {
  if (differentiates(x)) {
    const at::Tensor scale = at::rsqrt(x.square().mean(-1, true) + eps);
    return (x * scale * norm.weight_f32).to(type);
  }
  const at::Tensor rows = x.contiguous();
  at::Tensor y = at::empty(x.sizes(), at::TensorOptions(type));
  if (type == at::kFloat) {
    normalise<float>(rows, norm.weight_f32, eps, y);
  } else {
    normalise<Bf16>(rows, norm.weight_f32, eps, y);
  }
  return y;
}

at::Tensor t5_feed_forward(const at::Tensor& x, const T5FeedForward& weights, float eps,
                           at::ScalarType type) {
  const at::Tensor normed = t5_norm(x, weights.norm, eps, type);  // [N, D]
  const at::Tensor up = t5_linear(normed, weights.up);            // [N, F]
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

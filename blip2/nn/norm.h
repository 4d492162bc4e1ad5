#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <utility>

namespace blip2 {

// A norm over rows of `width()` numbers, with its weights as the checkpoint has them: LayerNorm
// (x - mean) / deviation * weight + bias, or RMSNorm x / rms(x) * weight. A row may be one head of
// a token.
//
// Copies share the tensors. Const functions may run on several threads at once.
struct Norm {
  enum class Kind { layer, rms };

  Norm() = default;
  Norm(at::Tensor weight_, at::Tensor bias_, double eps_, Kind kind_ = Kind::layer)
      : weight(std::move(weight_)), bias(std::move(bias_)), eps(eps_), kind(kind_) {}

  at::Tensor weight, bias;  // [width]; an RMSNorm has no bias
  double eps = 1e-6;
  Kind kind = Kind::layer;
  bool one_plus = false;  // the factor is 1 + weight

  bool defined() const { return weight.defined(); }
  std::int64_t width() const { return weight.size(0); }

  // x [..., width] by ATen, differentiable by x and by parameters. A LayerNorm keeps the type of x;
  // an RMSNorm computes in f32.
  at::Tensor operator()(const at::Tensor& x) const;

  // Makes the f32 factors that nn/kernels read. Call it once the weights are loaded; the factors do
  // not follow weights that are trained.
  void widen();

  // x [N, width] f32 -> [N, width] of `type` by nn/kernels, without autograd: a row's result does
  // not depend on the rows beside it.
  at::Tensor each_row(const at::Tensor& x, at::ScalarType type) const;
  // The norm on plain memory, on the calling thread. T is float, Bf16 or F16.
  template <typename T>
  void each_row(const float* x, T* y, std::int64_t rows) const;
  // dx += the gradient at x for the output's gradient dy.
  template <typename T>
  void gradient(const float* x, const T* dy, float* dx, std::int64_t rows) const;

  // Applies the norm in place to `heads` adjacent heads in each row; rows are `stride` elements
  // apart.
  template <typename T>
  void each_head(T* x, std::int64_t rows, std::int64_t heads, std::int64_t stride) const;
  // Replaces dy by the gradient at x. Rows of x are `x_stride` elements apart, rows of dy `stride`.
  template <typename T>
  void head_gradient(const T* x, std::int64_t x_stride, T* dy, std::int64_t rows,
                     std::int64_t heads, std::int64_t stride) const;

 private:
  at::Tensor factor_, shift_;  // f32
};

}  // namespace blip2

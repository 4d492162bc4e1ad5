#include "blip2/nn/norm.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "blip2/nn/element_type.h"

namespace blip2 {
namespace {

using Int = std::int64_t;

// y = x in f32.
template <typename T>
void to_f32(const T* x, float* y, Int count) {
  std::fill_n(y, count, 0.0f);
  kernels<T>().add(y, x, y, count);
}

}  // namespace

at::Tensor Norm::operator()(const at::Tensor& x) const {
  const at::Tensor factor = one_plus ? weight + 1 : weight;
  if (kind == Kind::layer) return at::layer_norm(x, weight.sizes(), factor, bias, eps);
  const at::Tensor values = x.to(at::kFloat);
  return values * at::rsqrt(values.square().mean(-1, true) + eps) * factor.to(at::kFloat);
}

void Norm::widen() {
  factor_ = weight.to(at::kFloat).contiguous();
  if (one_plus) factor_ = factor_ + 1;
  if (bias.defined()) shift_ = bias.to(at::kFloat).contiguous();
}

at::Tensor Norm::each_row(const at::Tensor& x, at::ScalarType type) const {
  const at::Tensor rows = x.contiguous();
  at::Tensor y = at::empty(x.sizes(), at::TensorOptions(type));
  with_element(type, [&]<typename T>() {
    const float* from = rows.const_data_ptr<float>();
    T* const to = static_cast<T*>(y.mutable_data_ptr());
    at::parallel_for(0, x.size(0), 8, [&](Int begin, Int end) {
      each_row(from + begin * width(), to + begin * width(), end - begin);
    });
  });
  return y;
}

template <typename T>
void Norm::each_row(const float* x, T* y, Int rows) const {
  const float* factor = factor_.const_data_ptr<float>();
  const auto epsilon = static_cast<float>(eps);
  if (kind == Kind::rms) return kernels<T>().rms_norm(x, factor, y, rows, width(), epsilon);
  kernels<T>().layer_norm(x, factor, shift_.const_data_ptr<float>(), y, rows, width(), epsilon);
}

template <typename T>
void Norm::gradient(const float* x, const T* dy, float* dx, Int rows) const {
  const auto& k = kernels<T>();
  const auto kernel = kind == Kind::rms ? k.rms_norm_backward : k.layer_norm_backward;
  kernel(x, factor_.const_data_ptr<float>(), dy, dx, rows, width(), static_cast<float>(eps));
}

template <typename T>
void Norm::each_head(T* x, Int rows, Int heads, Int stride) const {
  std::vector<float> values(static_cast<std::size_t>(heads * width()));
  for (Int row = 0; row < rows; ++row, x += stride) {
    to_f32(x, values.data(), heads * width());
    each_row(values.data(), x, heads);
  }
}

template <typename T>
void Norm::head_gradient(const T* x, Int x_stride, T* dy, Int rows, Int heads, Int stride) const {
  const Int count = heads * width();
  std::vector<float> values(static_cast<std::size_t>(2 * count));
  float* const dx = values.data() + count;
  for (Int row = 0; row < rows; ++row, x += x_stride, dy += stride) {
    to_f32(x, values.data(), count);
    std::fill_n(dx, count, 0.0f);
    gradient(values.data(), dy, dx, heads);
    kernels<T>().narrow(dx, dy, count);
  }
}

template void Norm::each_row(const float*, float*, Int) const;
template void Norm::each_row(const float*, Bf16*, Int) const;
template void Norm::each_row(const float*, F16*, Int) const;
template void Norm::gradient(const float*, const float*, float*, Int) const;
template void Norm::gradient(const float*, const Bf16*, float*, Int) const;
template void Norm::gradient(const float*, const F16*, float*, Int) const;
template void Norm::each_head(float*, Int, Int, Int) const;
template void Norm::each_head(Bf16*, Int, Int, Int) const;
template void Norm::each_head(F16*, Int, Int, Int) const;
template void Norm::head_gradient(const float*, Int, float*, Int, Int, Int) const;
template void Norm::head_gradient(const Bf16*, Int, Bf16*, Int, Int, Int) const;
template void Norm::head_gradient(const F16*, Int, F16*, Int, Int, Int) const;

}  // namespace blip2

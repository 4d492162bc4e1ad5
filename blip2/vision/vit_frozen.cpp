// The pass of a frozen encoder through one block: products by whatever is fastest, everything else
// by nn/kernels, with the sum over the blocks in f32.
#include <ATen/Parallel.h>

#include <cmath>

#include "blip2/nn/element_type.h"
#include "blip2/vision/vit_layers.h"

namespace blip2 {
namespace {

using Int = std::int64_t;

template <typename T>
const T* data_of(const at::Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}
template <typename T>
T* data_of(at::Tensor& x) {
  return static_cast<T*>(x.mutable_data_ptr());
}

// x [P, D] f32 += delta [P, D]
void add_to(at::Tensor& x, const at::Tensor& delta) {
  constexpr Int kNumbers = 1 << 14;  // that a thread takes at least
  with_element(delta.scalar_type(), [&]<typename T>() {
    float* const sum = data_of<float>(x);
    const T* from = data_of<T>(delta);
    at::parallel_for(0, x.numel(), kNumbers, [&](Int begin, Int end) {
      kernels<T>().add(sum + begin, from + begin, sum + begin, end - begin);
    });
  });
}

// x += (rows weight^T + bias) * scale
void add_product(at::Tensor& x, const Linear& linear, const at::Tensor& rows,
                 const at::Tensor& scale) {
  if (scale.defined()) return add_to(x, linear.frozen(rows) * scale);
  if (!linear.in_blocks()) return add_to(x, linear.frozen(rows));
  with_element(rows.scalar_type(), [&]<typename T>() {
    linear.each_row(data_of<T>(rows), rows.size(0), Store::add_f32, x.mutable_data_ptr(),
                    x.size(1));
  });
}

// Attention [P, D] of queries, keys and values [P, D], which may be slices of wider rows.
at::Tensor attend_all_heads(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            Int heads) {
  at::Tensor out = at::empty(q.sizes(), q.options());
  const Int size = q.size(1) / heads;
  with_element(q.scalar_type(), [&]<typename T>() {
    const DenseAttention<T> args{.q = data_of<T>(q),
                                 .k = data_of<T>(k),
                                 .v = data_of<T>(v),
                                 .out = data_of<T>(out),
                                 .rows = q.size(0),
                                 .head_size = size,
                                 .stride = q.stride(0),
                                 .out_stride = q.size(1),
                                 .scale = 1 / std::sqrt(static_cast<float>(size))};
    at::parallel_for(0, heads, 1,
                     [&](Int begin, Int end) { kernels<T>().attend_all(args, begin, end); });
  });
  return out;
}

// Turns the heads of the last positions of queries or keys [P, D], which may be slices of wider
// rows.
void turn_rows(at::Tensor& x, Int heads, const PatchRotation& rotation) {
  const Int patches = rotation.cos.size(0), half = rotation.cos.size(1);
  const Int first = x.size(0) - patches, stride = x.stride(0), size = x.size(1) / heads;
  const float* const cos = rotation.cos.const_data_ptr<float>();
  const float* const sin = rotation.sin.const_data_ptr<float>();
  with_element(x.scalar_type(), [&]<typename T>() {
    T* const rows = data_of<T>(x) + first * stride;
    at::parallel_for(0, patches, 16, [&](Int begin, Int end) {
      for (Int p = begin; p < end; ++p) {
        kernels<T>().rope(rows + p * stride, cos + p * half, sin + p * half, heads, size, 1);
      }
    });
  });
}

}  // namespace

std::vector<Linear*> VitBlock::linears() {
  std::vector<Linear*> all{&qkv_, &query_, &key_, &value_, &output_, &in_, &out_};
  std::erase_if(all, [](const Linear* linear) { return !linear->defined(); });
  return all;
}

bool VitBlock::adds_bias() const {
  return !gated_ && activation_ == Activation::gelu && in_.bias().defined();
}

void VitBlock::advance(at::Tensor& x, at::ScalarType type, const PatchRotation& rotation) const {
  const at::Tensor seen = attend_frozen(norm1_.each_row(x, type), rotation);    // [P, D]
  add_product(x, output_, seen, scale1_);                                       // [P, D]
  const at::Tensor inner = in_.frozen(norm2_.each_row(x, type), !adds_bias());  // [P, F]
  add_product(x, out_, activate_frozen(inner), scale2_);                        // [P, D]
}

at::Tensor VitBlock::attend_frozen(const at::Tensor& x, const PatchRotation& rotation) const {
  std::vector<at::Tensor> parts;  // 3 of [P, D]
  if (qkv_.defined()) {
    parts = qkv_.frozen(x).chunk(3, -1);
  } else {
    parts = {query_.frozen(x), key_.frozen(x), value_.frozen(x)};
  }
  if (rotation.cos.defined()) {
    turn_rows(parts[0], heads_, rotation);
    turn_rows(parts[1], heads_, rotation);
  }
  return attend_all_heads(parts[0], parts[1], parts[2], heads_);
}

// x [P, F], without its bias if adds_bias(), or [P, 2 F] -> [P, F]
at::Tensor VitBlock::activate_frozen(const at::Tensor& x) const {
  const bool by_kernel =
      gated_ ? activation_ == Activation::silu
             : activation_ != Activation::silu && (adds_bias() || activation_ != Activation::gelu);
  if (!by_kernel) {
    const at::NoGradGuard no_grad;
    const auto parts = x.chunk(gated_ ? 2 : 1, 1);
    return gated_ ? activate(parts[0]) * parts[1] : activate(x);
  }
  const Int rows = x.size(0), width = gated_ ? x.size(1) / 2 : x.size(1);
  at::Tensor y = gated_ ? at::empty({rows, width}, x.options()) : x;
  with_element(x.scalar_type(), [&]<typename T>() {
    const auto& k = kernels<T>();
    const T* const from = data_of<T>(x);
    T* const to = data_of<T>(y);
    at::parallel_for(0, rows, 8, [&](Int begin, Int end) {
      const Int first = begin * width, count = (end - begin) * width;
      if (gated_) return k.silu_mul(from + 2 * first, to + first, end - begin, width);
      if (activation_ == Activation::gelu) {
        k.gelu(from, in_.bias_f32().const_data_ptr<float>(), to, width, begin, end);
      } else if (activation_ == Activation::gelu_tanh) {
        k.gelu_tanh(from + first, to + first, count);
      } else {
        k.quick_gelu(from + first, to + first, count);
      }
    });
  });
  return y;
}

}  // namespace blip2

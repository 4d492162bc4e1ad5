#include "blip2/vision/folded_convolution.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/base/processor.h"

namespace blip2 {
namespace {

using Scalars = c10::List<std::optional<at::Scalar>>;
using Text = std::optional<std::string_view>;

// The fused convolutions that TorchInductor emits; LibTorch has them without C++ declarations.
using Pointwise = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                             at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, std::int64_t,
                             std::string_view, Scalars, Text);
using PointwiseBinary = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                   const std::optional<at::Tensor>&, at::IntArrayRef,
                                   at::IntArrayRef, at::IntArrayRef, std::int64_t, std::string_view,
                                   std::optional<at::Scalar>, Text, Scalars, Text);
using Reorder = at::Tensor(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef,
                           std::int64_t, at::OptionalIntArrayRef);

template <typename Signature>
c10::TypedOperatorHandle<Signature> find_operator(const char* name, const char* overload) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

at::Tensor pointwise(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                     std::int64_t padding, std::int64_t stride, std::int64_t groups,
                     std::string_view activation, const Scalars& limits) {
  static const auto op = find_operator<Pointwise>("mkldnn::_convolution_pointwise", "");
  return op.call(input, weight, bias, {padding, padding}, {stride, stride}, {1, 1}, groups,
                 activation, limits, Text(""));
}

// oneDNN emulates bf16 on AVX-512 processors that lack the instructions, and refuses older ones.
void require_bf16() {
  if (processor().avx512) return;
  throw Error("bf16 convolutions need a processor with AVX-512", "image encoder", "compute in f32");
}

}  // namespace

FoldedConvolution::FoldedConvolution(const torch::nn::Conv2dImpl& conv,
                                     const torch::nn::BatchNorm2dImpl& norm,
                                     std::int64_t input_size, at::ScalarType compute,
                                     Padding padding)
    : stride_(conv.options.stride()->at(0)), groups_(conv.options.groups()) {
  if (compute == at::kBFloat16) require_bf16();
  const at::NoGradGuard no_grad;
  const at::Tensor scale = norm.weight / (norm.running_var + norm.options.eps()).sqrt();
  at::Tensor weight = conv.weight * scale.view({-1, 1, 1, 1});
  bias_ = (norm.bias - norm.running_mean * scale).to(compute);

  if (padding == Padding::same) {
    weight = pad_as_same(weight, input_size);
  } else {
    padding_ = weight.size(2) / 2;
    output_size_ = (input_size + 2 * padding_ - weight.size(2)) / stride_ + 1;
  }

  static const auto reorder = find_operator<Reorder>("mkldnn::_reorder_convolution_weight", "");
  const std::int64_t channels = weight.size(1) * groups_;
  weight_ = reorder.call(weight.to(compute).contiguous(at::MemoryFormat::ChannelsLast),
                         {padding_, padding_}, {stride_, stride_}, {1, 1}, groups_,
                         at::IntArrayRef{1, channels, input_size, input_size});
}

at::Tensor FoldedConvolution::pad_as_same(const at::Tensor& weight, std::int64_t input_size) {
  output_size_ = (input_size + stride_ - 1) / stride_;
  const std::int64_t total =
      std::max<std::int64_t>((output_size_ - 1) * stride_ + weight.size(2) - input_size, 0);
  // "Same" puts the odd pixel after the image and oneDNN's op pads both sides alike: leading zeros
  // in the kernel make up the difference without copying the image.
  padding_ = total - total / 2;
  const std::int64_t extra = padding_ - total / 2;
  return extra > 0 ? at::constant_pad_nd(weight, {extra, 0, extra, 0}) : weight;
}

at::Tensor FoldedConvolution::relu(const at::Tensor& input) const {
  return pointwise(input, weight_, bias_, padding_, stride_, groups_, "relu", Scalars());
}

at::Tensor FoldedConvolution::relu6(const at::Tensor& input) const {
  static const Scalars limits({at::Scalar(0.0), at::Scalar(6.0)});
  return pointwise(input, weight_, bias_, padding_, stride_, groups_, "hardtanh", limits);
}

at::Tensor FoldedConvolution::linear(const at::Tensor& input) const {
  return pointwise(input, weight_, bias_, padding_, stride_, groups_, "none", Scalars());
}

at::Tensor FoldedConvolution::plus(const at::Tensor& input, const at::Tensor& residual) const {
  return add(input, residual, nullptr);
}

at::Tensor FoldedConvolution::relu_of_plus(const at::Tensor& input,
                                           const at::Tensor& residual) const {
  return add(input, residual, "relu");
}

at::Tensor FoldedConvolution::add(const at::Tensor& input, const at::Tensor& residual,
                                  const char* activation) const {
  static const auto op = find_operator<PointwiseBinary>("mkldnn::_convolution_pointwise", "binary");
  return op.call(input, residual, weight_, bias_, {padding_, padding_}, {stride_, stride_}, {1, 1},
                 groups_, "add", at::Scalar(1.0), activation ? Text(activation) : std::nullopt,
                 Scalars(), std::nullopt);
}

}  // namespace blip2

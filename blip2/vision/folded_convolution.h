#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace blip2 {

// How a convolution pads its input: TensorFlow's "same" (output ceil(size / stride), the odd pixel
// after the image) or kernel / 2 on every side.
enum class Padding { same, symmetric };

// The number of pictures that a convolutional encoder computes at a time. With more than a few the
// activations leave the processor's cache. In bf16 it is one, as oneDNN lays weights out for one
// batch size and would lay them out again, slowly, in each call with another.
constexpr std::int64_t images_at_once(at::ScalarType compute) {
  return compute == at::kBFloat16 ? 1 : 4;
}

// A convolution as a frozen encoder runs it: its batch norm is folded into weight and bias, the
// weight is kept in oneDNN's own layout, and an activation or a residual sum is computed in the
// same pass over the output.
//
// A picture's result does not depend on the other pictures of the batch, nor on the number of
// threads.
class FoldedConvolution {
 public:
  FoldedConvolution() = default;

  // `input_size` is the height and width of the input. `compute` is kFloat or kBFloat16 (Error
  // where the processor cannot do it); inputs and outputs have that type, channels last.
  FoldedConvolution(const torch::nn::Conv2dImpl& conv, const torch::nn::BatchNorm2dImpl& norm,
                    std::int64_t input_size, at::ScalarType compute,
                    Padding padding = Padding::same);

  at::Tensor relu(const at::Tensor& input) const;
  at::Tensor relu6(const at::Tensor& input) const;
  at::Tensor linear(const at::Tensor& input) const;
  at::Tensor plus(const at::Tensor& input, const at::Tensor& residual) const;
  // max(plus, 0)
  at::Tensor relu_of_plus(const at::Tensor& input, const at::Tensor& residual) const;

  std::int64_t output_size() const { return output_size_; }

 private:
  at::Tensor add(const at::Tensor& input, const at::Tensor& residual, const char* activation) const;
  // The kernel padded with zeros as TensorFlow's "same" needs it; sets padding_ and output_size_.
  at::Tensor pad_as_same(const at::Tensor& weight, std::int64_t input_size);
  at::Tensor weight_, bias_;
  std::int64_t stride_ = 1, padding_ = 0, groups_ = 1, output_size_ = 0;
};

}  // namespace blip2

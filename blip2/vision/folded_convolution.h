#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace blip2 {

// A convolution as a frozen encoder runs it: its batch norm folded into weight and bias,
// TensorFlow's "same" padding, the weight kept in oneDNN's own layout, and ReLU6 or a residual sum
// done in the same pass over the output.
//
// An image's result does not depend on the batch that it is in, nor on the number of threads.
class FoldedConvolution {
 public:
  FoldedConvolution() = default;

  // `input_size` is the height and width of the input. `compute` is kFloat or kBFloat16 (Error
  // where the processor cannot do it); inputs and outputs have that type, channels last.
  FoldedConvolution(const torch::nn::Conv2dImpl& conv, const torch::nn::BatchNorm2dImpl& norm,
                    std::int64_t input_size, at::ScalarType compute);

  at::Tensor relu6(const at::Tensor& input) const;
  at::Tensor linear(const at::Tensor& input) const;
  at::Tensor plus(const at::Tensor& input, const at::Tensor& residual) const;

  std::int64_t output_size() const { return output_size_; }

 private:
  at::Tensor weight_, bias_;
  std::int64_t stride_ = 1, padding_ = 0, groups_ = 1, output_size_ = 0;
};

}  // namespace blip2

#pragma once

#include <cstdint>
#include <vector>

#include "blip2/model/config.h"

namespace blip2 {

// Sizes and operations of a model's parts from the configuration alone: nothing is allocated or
// read.

inline constexpr double kF32Bytes = 4;

double total_of(const std::vector<std::int64_t>& lengths);

// Floating-point operations: each multiplication and each addition counts as one.
struct Flops {
  double forward = 0, backward = 0;
  double total() const { return forward + backward; }
  Flops& operator+=(const Flops& other) {
    forward += other.forward;
    backward += other.backward;
    return *this;
  }
};
// The operations of a product of rows [rows, ins] with a matrix [ins, outs]. The gradient of the
// rows costs as much as the product, and so does the gradient of the matrix.
Flops product_flops(double rows, double ins, double outs, bool input_gradient = true,
                    bool weight_gradient = true);

struct EncoderSize {
  std::int64_t parameters = 0;                        // without the buffers of batch norms
  std::int64_t positions = 0, width = 0, pixels = 0;  // pixels: numbers in a picture
  double flops = 0;                                   // of the forward pass of one picture
};
EncoderSize encoder_size(const VisionConfig& config);

}  // namespace blip2

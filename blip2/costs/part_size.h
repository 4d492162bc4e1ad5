#pragma once

#include <cstdint>
#include <vector>

#include "blip2/model/config.h"

namespace blip2 {

// Sizes and work of a model's parts, from their configuration alone: nothing is allocated or read.

inline constexpr double kF32Bytes = 4;

double total_of(const std::vector<std::int64_t>& lengths);

// Multiplications and additions, counted singly.
struct Flops {
  double forward = 0, backward = 0;
  double total() const { return forward + backward; }
  Flops& operator+=(const Flops& other) {
    forward += other.forward;
    backward += other.backward;
    return *this;
  }
};
// Of a product of rows [rows, ins] with a matrix [ins, outs]: the gradients of the rows and of the
// matrix cost as much again each.
Flops product_flops(double rows, double ins, double outs, bool input_gradient = true,
                    bool weight_gradient = true);

struct EncoderSize {
  std::int64_t parameters = 0;                        // buffers of batch norms not counted
  std::int64_t positions = 0, width = 0, pixels = 0;  // pixels: values of a picture
  double flops = 0;                                   // of one picture, forward
};
EncoderSize encoder_size(const VisionConfig& config);

}  // namespace blip2

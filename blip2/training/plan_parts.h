#pragma once

#include <cstdint>
#include <vector>

#include "blip2/model/config.h"
#include "blip2/training/recipe.h"

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

// Parameters of the bridge's parts by whether this recipe's gradient reaches them.
struct TrainedPart {
  std::int64_t trained = 0, frozen = 0;
};
struct BridgeSize {
  TrainedPart queries, qformer, norm, heads, projection;
  std::int64_t reached() const {
    return queries.trained + qformer.trained + norm.trained + heads.trained + projection.trained;
  }
  std::int64_t all() const {
    return reached() + queries.frozen + qformer.frozen + norm.frozen + heads.frozen +
           projection.frozen;
  }
  std::int64_t in_optimizer = 0;  // have moments, whether a gradient reaches them or not
};
BridgeSize bridge_size(const Blip2Config& config, const Recipe& recipe);

}  // namespace blip2

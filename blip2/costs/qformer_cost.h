#pragma once

#include <cstdint>
#include <vector>

#include "blip2/costs/part_size.h"
#include "blip2/model/config.h"
#include "blip2/qformer/packed_rows.h"

namespace blip2 {

// Work of the Q-Former's passes of one step, from the packed rows that they compute.
class QFormerCost {
 public:
  // `positions`: of a picture's features. `type_bytes`: of the type that passes compute in.
  QFormerCost(const Blip2Config& config, std::int64_t positions, double type_bytes);

  // One pass over rows of pictures and of texts of these lengths. `trains`: its states are kept for
  // gradients.
  void run(const std::vector<PassRow>& rows, const std::vector<std::int64_t>& texts, bool trains);

  Flops flops;
  double bytes = 0;   // kept for the backward pass
  double tables = 0;  // gradients of the word embeddings that are made one by one

 private:
  double padded(std::int64_t rows) const;
  void layer(const PackedLayer& packed, bool crosses, bool trains);
  void keep_attention(std::int64_t rows);
  void feed_forward(std::int64_t rows, bool trains);
  void multiply(std::int64_t rows, double ins, double outs);
  void attend(const std::vector<AttentionSegment>& segments);
  void keep(double elements) { bytes += type_ * elements; }

  const QFormerConfig& c_;
  std::int64_t queries_, positions_;
  double type_, d_, f_;
};

// Bytes of the Q-Former's weights as a pass holds them beside the f32 parameters: copies in compute
// type, and the matrices that it lays together.
double pass_weight_bytes(const QFormerConfig& config, std::int64_t type_bytes);

}  // namespace blip2

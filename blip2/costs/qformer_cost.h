#pragma once

#include <cstdint>
#include <vector>

#include "blip2/costs/part_size.h"
#include "blip2/model/config.h"
#include "blip2/qformer/packed_rows.h"

namespace blip2 {

// Adds up the operations and bytes of the Q-Former's passes in one step, from the packed rows that
// the passes compute.
class QFormerCost {
 public:
  // `positions`: number of features of a picture. `type_bytes`: bytes of a number in the compute
  // type.
  QFormerCost(const Blip2Config& config, std::int64_t positions, double type_bytes);

  // Adds one pass over `rows`; `texts` are the texts' lengths. `trains`: the states are kept for
  // the backward pass. `language`: the lengths of the texts whose states of a language model the
  // queries of the rows read; their keys and values are made for this pass.
  void run(const std::vector<PassRow>& rows, const std::vector<std::int64_t>& texts, bool trains,
           const std::vector<std::int64_t>& language = {});

  Flops flops;
  double bytes = 0;   // bytes kept for the backward pass
  double tables = 0;  // bytes of gradients of the word embeddings that are made one by one

 private:
  double padded(std::int64_t rows) const;
  void layer(const PackedLayer& packed, bool crosses, bool trains);
  void project_language(double rows);
  void keep_attention(std::int64_t rows);
  void feed_forward(std::int64_t rows, bool trains);
  void multiply(std::int64_t rows, double ins, double outs);
  void attend(const std::vector<AttentionSegment>& segments);
  void keep(double elements) { bytes += type_ * elements; }

  const QFormerConfig& c_;
  std::int64_t queries_, positions_;
  double type_, d_, f_;
};

// Bytes of weights that a Q-Former pass holds in addition to the f32 parameters: copies in the
// compute type, and joined matrices.
double pass_weight_bytes(const QFormerConfig& config, std::int64_t type_bytes);

}  // namespace blip2

#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "blip2/language/decoder_config.h"

namespace blip2 {

// Cosines and sines of the rotary angles position / theta^(2 i / head_dim), computed in f32 as
// transformers does; Llama 3.1's scaling lowers the low frequencies.
class RopeTable {
 public:
  explicit RopeTable(const DecoderConfig& config)
      : half_(config.head_dim / 2), theta_(config.rope_theta), scaling_(config.rope_scaling) {}

  // Computes positions [0, count). cos() and sin() of computed positions may run on several threads
  // at once.
  void reserve(std::int64_t count);
  const float* cos(std::int64_t position) const { return cos_.data() + position * half_; }
  const float* sin(std::int64_t position) const { return sin_.data() + position * half_; }

 private:
  std::int64_t half_, count_ = 0;
  double theta_;
  std::optional<Llama3Rope> scaling_;
  std::vector<float> cos_, sin_;
};

// What `config`'s scaled rope divides each frequency by: [head_dim / 2] f32.
at::Tensor rope_factors(const DecoderConfig& config);

}  // namespace blip2

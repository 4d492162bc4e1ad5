#pragma once

#include <torch/torch.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "blip2/language/decoder_config.h"

namespace blip2 {

// Where a token stands in its sequence.
struct TokenPlace {
  std::int64_t position;
  bool in_long;  // of a sequence for which RopeTable::is_long
};

// Cosines and sines of a token's rotary angles, [rotated() / 2] each; nullptr: it does not rotate.
struct RopeAngles {
  const float *cos = nullptr, *sin = nullptr;
};

// The rotary angles of all layers, computed in f32 as transformers does, and multiplied by the
// scaling's attention factor.
class RopeTable {
 public:
  explicit RopeTable(const DecoderConfig& config);

  // The most tokens of a sequence that rotates by short factors; 0: no length changes the factors.
  std::int64_t longest_short() const { return longest_short_; }
  bool is_long(std::int64_t tokens) const { return longest_short_ > 0 && tokens > longest_short_; }

  // Computes positions [0, count). at() of computed positions may run on several threads at once.
  void reserve(std::int64_t count);
  RopeAngles at(std::int64_t layer, TokenPlace place) const {
    const Table* table = layers_[static_cast<std::size_t>(layer)][place.in_long ? 1 : 0];
    if (!table) return {};
    const std::int64_t begin = place.position * half_;
    return {table->cos.data() + begin, table->sin.data() + begin};
  }

 private:
  struct Table {
    at::Tensor frequencies;  // [half] f32
    double attention_factor = 1.0;
    std::vector<float> cos = {}, sin = {};  // [count, half]
  };
  std::array<const Table*, 2> add(const Rope& rope);

  std::int64_t half_, count_ = 0, longest_short_ = 0;
  std::vector<std::unique_ptr<Table>> tables_;
  std::vector<std::array<const Table*, 2>> layers_;  // of short and of long sequences
};

// What the scaling of `config`'s rope divides each frequency by: [rotated() / 2] f32; of longrope
// the long factors if `in_long`.
at::Tensor rope_factors(const DecoderConfig& config, bool in_long);

}  // namespace blip2

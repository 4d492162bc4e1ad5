#include "blip2/language/rope_table_internal.h"

#include <algorithm>

namespace blip2 {
namespace {

// Wavelengths beyond original / low_freq_factor are stretched by `factor`, those within
// original / high_freq_factor stay, those between are blended.
at::Tensor scaled(const at::Tensor& frequencies, const Llama3Rope& rope) {
  const double original = rope.original_max_position_embeddings;
  const at::Tensor lengths = 2 * M_PI / frequencies;
  const at::Tensor blend =
      ((original / lengths - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor))
          .clamp(0, 1);
  return (1 - blend) * frequencies / rope.factor + blend * frequencies;
}

at::Tensor frequencies_of(double theta, std::int64_t half) {
  const auto options = at::TensorOptions(at::kFloat);
  const at::Tensor exponents = at::arange(0, 2 * half, 2, options) / static_cast<double>(2 * half);
  return 1.0 / at::pow(theta, exponents);
}

}  // namespace

at::Tensor rope_factors(const DecoderConfig& config) {
  const at::Tensor frequencies = frequencies_of(config.rope_theta, config.head_dim / 2);
  if (!config.rope_scaling) return at::ones_like(frequencies);
  return frequencies / scaled(frequencies, *config.rope_scaling);
}

void RopeTable::reserve(std::int64_t count) {
  if (count <= count_) return;
  count_ = std::max<std::int64_t>({count, 2 * count_, 256});
  const auto options = at::TensorOptions(at::kFloat);
  at::Tensor frequencies = frequencies_of(theta_, half_);
  if (scaling_) frequencies = scaled(frequencies, *scaling_);
  const at::Tensor angles = at::outer(at::arange(count_, options), frequencies);
  const auto copy = [](const at::Tensor& values) {
    const float* data = values.const_data_ptr<float>();
    return std::vector<float>(data, data + values.numel());
  };
  cos_ = copy(angles.cos());
  sin_ = copy(angles.sin());
}

}  // namespace blip2

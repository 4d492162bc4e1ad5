#include "blip2/language/rope_table.h"

#include <torch/torch.h>

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

}  // namespace

void RopeTable::reserve(std::int64_t count) {
  if (count <= count_) return;
  count_ = std::max<std::int64_t>({count, 2 * count_, 256});
  const auto options = at::TensorOptions(at::kFloat);
  const at::Tensor exponents =
      at::arange(0, 2 * half_, 2, options) / static_cast<double>(2 * half_);
  at::Tensor frequencies = 1.0 / at::pow(theta_, exponents);
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

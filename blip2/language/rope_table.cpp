#include "blip2/language/rope_table.h"

#include <torch/torch.h>

#include <algorithm>

namespace blip2 {

void RopeTable::reserve(std::int64_t count) {
  if (count <= count_) return;
  count_ = std::max<std::int64_t>({count, 2 * count_, 256});
  const auto options = at::TensorOptions(at::kFloat);
  const at::Tensor exponents =
      at::arange(0, 2 * half_, 2, options) / static_cast<double>(2 * half_);
  const at::Tensor frequencies = 1.0 / at::pow(theta_, exponents);
  const at::Tensor angles = at::outer(at::arange(count_, options), frequencies);
  const auto copy = [](const at::Tensor& values) {
    const float* data = values.const_data_ptr<float>();
    return std::vector<float>(data, data + values.numel());
  };
  cos_ = copy(angles.cos());
  sin_ = copy(angles.sin());
}

}  // namespace blip2

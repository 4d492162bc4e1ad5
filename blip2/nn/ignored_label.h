#pragma once

#include <cstdint>

namespace blip2 {

// The label that cross-entropy ignores, as in PyTorch.
inline constexpr std::int64_t kIgnoredLabel = -100;

}  // namespace blip2

#pragma once

#include <cstdint>

namespace blip2 {

// Cross-entropy's ignored label, as in PyTorch.
inline constexpr std::int64_t kIgnoredLabel = -100;

}  // namespace blip2

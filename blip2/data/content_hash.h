#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace blip2 {

// 128 bits that tell contents apart (not against somebody who makes collisions on purpose).
struct ContentHash {
  std::uint64_t low = 0, high = 0;

  auto operator<=>(const ContentHash&) const = default;
  std::string hex() const;  // 32 digits
};

// MurmurHash3_x64_128 (Appleby, public domain) with a zero seed unless another is given.
ContentHash content_hash(std::span<const std::byte> bytes, std::uint32_t seed = 0);

}  // namespace blip2

#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "blip2/base/hash.h"

namespace blip2 {

// A 128-bit hash that tells contents apart. It is no defence against collisions made on purpose.
struct ContentHash {
  std::uint64_t low = 0, high = 0;

  auto operator<=>(const ContentHash&) const = default;
  std::string hex() const { return hash_text(low) + hash_text(high); }  // 32 digits
};

inline ContentHash content_hash(std::span<const std::byte> bytes) {
  return {hash_bytes(bytes, 1), hash_bytes(bytes, 2)};
}

}  // namespace blip2

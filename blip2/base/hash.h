#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "blip2/base/random.h"

namespace blip2 {

// A 64-bit checksum that finds damage (not a defence against forgery): four independent
// multiply-mix lanes over 32-byte blocks, so that it runs near memory speed.
inline std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t seed = 0) {
  std::uint64_t lanes[4] = {scatter(seed), scatter(seed + 1), scatter(seed + 2), scatter(seed + 3)};
  const auto mix = [](std::uint64_t lane, std::uint64_t word) {
    lane = (lane ^ word) * 0x9fb21c651e98df25u;
    return lane ^ (lane >> 29);
  };
  std::size_t at = 0;
  for (; at + 32 <= bytes.size(); at += 32) {
    std::uint64_t words[4];
    std::memcpy(words, bytes.data() + at, 32);
    for (int i = 0; i < 4; ++i) lanes[i] = mix(lanes[i], words[i]);
  }
  std::uint64_t rest[4] = {};
  if (at < bytes.size()) std::memcpy(rest, bytes.data() + at, bytes.size() - at);
  std::uint64_t result = scatter(bytes.size());
  for (int i = 0; i < 4; ++i) result = scatter(result ^ mix(lanes[i], rest[i]));
  return result;
}

// The hash as 16 hexadecimal digits, the form in which files carry it.
std::string hash_text(std::uint64_t hash);

}  // namespace blip2

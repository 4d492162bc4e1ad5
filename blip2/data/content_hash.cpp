#include "blip2/data/content_hash.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

namespace blip2 {
namespace {

constexpr std::uint64_t kFirst = 0x87c37b91114253d5u, kSecond = 0x4cf5ad432745937fu;

std::uint64_t mix_first(std::uint64_t k) {
  return std::rotl(k * kFirst, 31) * kSecond;
}

std::uint64_t mix_second(std::uint64_t k) {
  return std::rotl(k * kSecond, 33) * kFirst;
}

std::uint64_t finish(std::uint64_t k) {
  k = (k ^ (k >> 33)) * 0xff51afd7ed558ccdu;
  k = (k ^ (k >> 33)) * 0xc4ceb9fe1a85ec53u;
  return k ^ (k >> 33);
}

}  // namespace

std::string ContentHash::hex() const {
  return fmt::format("{:016x}{:016x}", low, high);
}

ContentHash content_hash(std::span<const std::byte> bytes, std::uint32_t seed) {
  static_assert(std::endian::native == std::endian::little);
  std::uint64_t h1 = seed, h2 = seed;
  const std::byte* at = bytes.data();
  for (std::size_t i = 0; i < bytes.size() / 16; ++i, at += 16) {
    std::uint64_t k[2];
    std::memcpy(k, at, 16);
    h1 = (std::rotl(h1 ^ mix_first(k[0]), 27) + h2) * 5 + 0x52dce729;
    h2 = (std::rotl(h2 ^ mix_second(k[1]), 31) + h1) * 5 + 0x38495ab5;
  }
  if (const std::size_t rest = bytes.size() % 16; rest > 0) {
    std::uint64_t k[2] = {0, 0};
    std::memcpy(k, at, rest);
    h1 ^= mix_first(k[0]);
    if (rest > 8) h2 ^= mix_second(k[1]);
  }
  h1 ^= bytes.size();
  h2 ^= bytes.size();
  h1 += h2;
  h2 += h1;
  h1 = finish(h1);
  h2 = finish(h2);
  h1 += h2;
  h2 += h1;
  return {h1, h2};
}

}  // namespace blip2

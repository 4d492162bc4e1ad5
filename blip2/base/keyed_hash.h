#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>

namespace blip2 {

// SipHash-2-4 with a result of 128 bits (Aumasson and Bernstein, "SipHash: a fast short-input PRF",
// 2012; their reference code, github.com/veorq/SipHash). Who does not know the key cannot make two
// contents with one hash, unlike with hash_bytes. A plain value; const functions may run on several
// threads at once.
class KeyedHash {
 public:
  struct Value {
    std::uint64_t low = 0, high = 0;
    auto operator<=>(const Value&) const = default;
  };

  KeyedHash(std::uint64_t first, std::uint64_t second) : first_(first), second_(second) {}
  // A key that nobody knows.
  static KeyedHash random() {
    std::random_device device;
    const auto word = [&] { return (std::uint64_t{device()} << 32) | device(); };
    const std::uint64_t first = word();
    return {first, word()};
  }

  Value operator()(std::span<const std::byte> bytes) const {
    State state(first_, second_);
    std::size_t at = 0;
    for (; at + 8 <= bytes.size(); at += 8) state.add(word_at(bytes.subspan(at, 8)));
    const auto length = static_cast<std::uint64_t>(bytes.size()) << 56;
    state.add(length | word_at(bytes.subspan(at)));
    state.v[2] ^= 0xee;
    const std::uint64_t low = state.end();
    state.v[1] ^= 0xdd;
    return {low, state.end()};
  }

 private:
  // Up to 8 bytes as a little-endian number.
  static std::uint64_t word_at(std::span<const std::byte> bytes) {
    std::uint64_t word = 0;
    if (std::endian::native == std::endian::little && bytes.size() == 8) {
      std::memcpy(&word, bytes.data(), 8);
      return word;
    }
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      word |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
    }
    return word;
  }

  struct State {
    std::array<std::uint64_t, 4> v;

    State(std::uint64_t first, std::uint64_t second)
        : v{first ^ 0x736f6d6570736575u, second ^ 0x646f72616e646f6du ^ 0xee,
            first ^ 0x6c7967656e657261u, second ^ 0x7465646279746573u} {}
    void round() {
      v[0] += v[1], v[1] = std::rotl(v[1], 13) ^ v[0], v[0] = std::rotl(v[0], 32);
      v[2] += v[3], v[3] = std::rotl(v[3], 16) ^ v[2];
      v[0] += v[3], v[3] = std::rotl(v[3], 21) ^ v[0];
      v[2] += v[1], v[1] = std::rotl(v[1], 17) ^ v[2], v[2] = std::rotl(v[2], 32);
    }
    void add(std::uint64_t word) {
      v[3] ^= word;
      round(), round();
      v[0] ^= word;
    }
    std::uint64_t end() {
      for (int i = 0; i < 4; ++i) round();
      return v[0] ^ v[1] ^ v[2] ^ v[3];
    }
  };

  std::uint64_t first_, second_;
};

}  // namespace blip2

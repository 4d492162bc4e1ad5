#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "blip2/protocols/public_address_internal.h"

namespace blip2 {
namespace {

struct Block4 {
  std::array<std::uint8_t, 4> start;
  int bits;
};

// RFC 6890 and IANA's registry of special-purpose IPv4 addresses; multicast and what is reserved.
constexpr std::array kSpecial4 = {
    Block4{{0, 0, 0, 0}, 8},       Block4{{10, 0, 0, 0}, 8},     Block4{{100, 64, 0, 0}, 10},
    Block4{{127, 0, 0, 0}, 8},     Block4{{169, 254, 0, 0}, 16}, Block4{{172, 16, 0, 0}, 12},
    Block4{{192, 0, 0, 0}, 24},    Block4{{192, 0, 2, 0}, 24},   Block4{{192, 31, 196, 0}, 24},
    Block4{{192, 52, 193, 0}, 24}, Block4{{192, 88, 99, 0}, 24}, Block4{{192, 168, 0, 0}, 16},
    Block4{{192, 175, 48, 0}, 24}, Block4{{198, 18, 0, 0}, 15},  Block4{{198, 51, 100, 0}, 24},
    Block4{{203, 0, 113, 0}, 24},  Block4{{224, 0, 0, 0}, 4},    Block4{{240, 0, 0, 0}, 4},
};

struct Block6 {
  std::array<std::uint8_t, 4> start;  // the first 32 bits
  int bits;
};

// Public addresses are in 2000::/3 (global unicast); these parts of it are special.
constexpr std::array kSpecial6 = {
    Block6{{0x20, 0x01, 0x00, 0x00}, 23},  // Teredo, benchmarks, ORCHID, …
    Block6{{0x20, 0x01, 0x0d, 0xb8}, 32},  // documentation
    Block6{{0x20, 0x02, 0x00, 0x00}, 16},  // 6to4: holds an IPv4 address
    Block6{{0x3f, 0xfe, 0x00, 0x00}, 16},  // the former 6bone
    Block6{{0x3f, 0xff, 0x00, 0x00}, 20},  // documentation
};

std::uint32_t joined(const std::uint8_t* bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
         std::uint32_t{bytes[2]} << 8 | bytes[3];
}

template <typename Blocks>
bool is_in(std::uint32_t start, const Blocks& blocks) {
  return std::any_of(blocks.begin(), blocks.end(), [start](const auto& block) {
    const std::uint32_t mask = ~std::uint32_t{0} << (32 - block.bits);
    return (start & mask) == (joined(block.start.data()) & mask);
  });
}

bool is_public4(const std::uint8_t* bytes) {
  return !is_in(joined(bytes), kSpecial4);
}

bool is_public6(const std::uint8_t* bytes) {
  const bool global_unicast = (bytes[0] & 0xe0) == 0x20;
  return global_unicast && !is_in(joined(bytes), kSpecial6);
}

}  // namespace

bool is_public_address(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in ip4;
    std::memcpy(&ip4, &address, sizeof ip4);
    return is_public4(reinterpret_cast<const std::uint8_t*>(&ip4.sin_addr));
  }
  if (address.sa_family != AF_INET6) return false;
  sockaddr_in6 ip6;
  std::memcpy(&ip6, &address, sizeof ip6);
  return is_public6(ip6.sin6_addr.s6_addr);
}

bool is_public_address(const std::string& address) {
  std::array<std::uint8_t, 16> bytes{};
  if (inet_pton(AF_INET, address.c_str(), bytes.data()) == 1) return is_public4(bytes.data());
  return inet_pton(AF_INET6, address.c_str(), bytes.data()) == 1 && is_public6(bytes.data());
}

std::string address_text(const sockaddr& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.sa_family == AF_INET) {
    sockaddr_in ip4;
    std::memcpy(&ip4, &address, sizeof ip4);
    inet_ntop(AF_INET, &ip4.sin_addr, text, sizeof text);
  } else if (address.sa_family == AF_INET6) {
    sockaddr_in6 ip6;
    std::memcpy(&ip6, &address, sizeof ip6);
    inet_ntop(AF_INET6, &ip6.sin6_addr, text, sizeof text);
  }
  return text;
}

}  // namespace blip2

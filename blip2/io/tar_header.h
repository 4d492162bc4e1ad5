#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace blip2 {

constexpr std::size_t kTarBlock = 512;

// The 512 bytes before a member, in the forms of V7, POSIX ustar and GNU.
struct TarHeader {
  std::string name;                   // with ustar's prefix
  std::optional<std::uint64_t> size;  // of the body, in bytes; nothing if the field is garbage
  char type = '0';
  bool more_sparse = false;  // blocks with a GNU sparse map follow

  bool is_file() const { return type == '0' || type == '\0' || type == '7'; }
  // Whether the body describes the next member: pax records, a GNU long name or long link.
  bool is_extension() const { return type == 'x' || type == 'g' || type == 'L' || type == 'K'; }
};

// The header in a block; nullopt if its checksum is wrong.
std::optional<TarHeader> parse_tar_header(std::span<const std::byte> block);

// What a damaged header (or the beginning of one) seems to say, for counting the members lost.
struct TarHeaderRemains {
  std::string name;
  bool is_extension = false;  // it described the next member
};
TarHeaderRemains read_remains(std::span<const std::byte> block);

// Whether a block has the magic of a header, whether or not its checksum is right.
bool has_tar_magic(std::span<const std::byte> block);

// The values of pax extended records, each "LENGTH KEY=VALUE\n", by key; nullopt if they are
// malformed.
std::optional<std::map<std::string, std::string, std::less<>>> parse_pax(std::string_view body);

// The value of a decimal number without a sign; nullopt for any other text.
std::optional<std::uint64_t> parse_decimal(std::string_view digits);

}  // namespace blip2

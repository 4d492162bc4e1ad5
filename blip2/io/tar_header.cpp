#include "blip2/io/tar_header.h"

#include <algorithm>
#include <charconv>

namespace blip2 {
namespace {

// Places in a header (POSIX.1-1988 ustar; GNU's differences are in the magic and the prefix).
struct Field {
  std::size_t offset, size;
};
constexpr Field kName{0, 100}, kSize{124, 12}, kChecksum{148, 8}, kType{156, 1}, kMagic{257, 6},
    kPrefix{345, 155}, kGnuMoreSparse{482, 1};

std::string_view text_at(std::span<const std::byte> block, Field field) {
  if (field.offset >= block.size()) return {};
  const auto part = block.subspan(field.offset, std::min(field.size, block.size() - field.offset));
  return {reinterpret_cast<const char*>(part.data()), part.size()};
}

std::string_view until_zero(std::string_view text) {
  return text.substr(0, text.find('\0'));
}

// Octal digits between spaces, ended by a space, a zero byte or the field's end.
std::optional<std::uint64_t> parse_octal(std::string_view text) {
  const std::size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  text.remove_prefix(first);
  const std::size_t end = std::min(text.find_first_of(std::string_view(" \0", 2)), text.size());
  std::uint64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + end, value, 8);
  if (end == 0 || error != std::errc() || stop != text.data() + end) return {};
  return value;
}

// GNU's binary form for sizes of 8 GiB and more: the first byte is 0x80, then big-endian.
std::optional<std::uint64_t> parse_size(std::string_view text) {
  if (static_cast<std::uint8_t>(text[0]) < 0x80) return parse_octal(text);
  if (static_cast<std::uint8_t>(text[0]) != 0x80) return {};  // negative
  std::uint64_t value = 0;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (value >> 56 != 0) return {};
    value = value << 8 | static_cast<std::uint8_t>(text[i]);
  }
  return value;
}

// The sum counts the checksum's own field as spaces. Some old programs added signed characters.
bool checksum_holds(std::span<const std::byte> block) {
  const auto expected = parse_octal(text_at(block, kChecksum));
  if (!expected) return false;
  std::uint64_t sum = kChecksum.size * ' ';
  std::int64_t signed_sum = static_cast<std::int64_t>(sum);
  for (std::size_t i = 0; i < kTarBlock; ++i) {
    if (i >= kChecksum.offset && i < kChecksum.offset + kChecksum.size) continue;
    sum += static_cast<std::uint8_t>(block[i]);
    signed_sum += static_cast<std::int8_t>(block[i]);
  }
  return sum == *expected || signed_sum == static_cast<std::int64_t>(*expected);
}

std::string name_of(std::span<const std::byte> block) {
  std::string name(until_zero(text_at(block, kName)));
  // GNU's magic goes on with a space and has other fields where ustar has the prefix.
  if (text_at(block, kMagic) != std::string_view("ustar\0", 6)) return name;
  const std::string_view prefix = until_zero(text_at(block, kPrefix));
  return prefix.empty() ? name : std::string(prefix) + "/" + name;
}

}  // namespace

bool has_tar_magic(std::span<const std::byte> block) {
  return text_at(block, kMagic).starts_with("ustar");
}

std::optional<TarHeader> parse_tar_header(std::span<const std::byte> block) {
  if (block.size() < kTarBlock || !checksum_holds(block)) return {};
  TarHeader header;
  header.name = name_of(block);
  header.size = parse_size(text_at(block, kSize));
  header.type = text_at(block, kType)[0];
  header.more_sparse = header.type == 'S' && text_at(block, kGnuMoreSparse)[0] != '\0';
  return header;
}

TarHeaderRemains read_remains(std::span<const std::byte> block) {
  TarHeaderRemains remains;
  remains.name = name_of(block);
  const std::string_view type = text_at(block, kType);
  TarHeader header;
  if (!type.empty()) header.type = type[0];
  remains.is_extension = header.is_extension() ||
                         remains.name.find("PaxHeader") != std::string::npos ||
                         remains.name.find("@LongLink") != std::string::npos;
  return remains;
}

std::optional<std::uint64_t> parse_decimal(std::string_view digits) {
  std::uint64_t value = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || error != std::errc() || stop != digits.data() + digits.size()) return {};
  return value;
}

std::optional<std::map<std::string, std::string, std::less<>>> parse_pax(std::string_view body) {
  std::map<std::string, std::string, std::less<>> records;
  while (!body.empty()) {
    const std::size_t space = body.find(' ');
    if (space == std::string_view::npos) return {};
    const auto length = parse_decimal(body.substr(0, space));
    if (!length || *length > body.size() || *length < space + 3) return {};
    const std::string_view record = body.substr(space + 1, *length - space - 1);
    const std::size_t equals = record.find('=');
    if (equals == std::string_view::npos || record.back() != '\n') return {};
    records[std::string(record.substr(0, equals))] =
        record.substr(equals + 1, record.size() - equals - 2);
    body.remove_prefix(*length);
  }
  return records;
}

}  // namespace blip2

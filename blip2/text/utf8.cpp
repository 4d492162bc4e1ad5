#include <cstdint>

#include "blip2/text/unicode.h"

namespace blip2 {
namespace {

// What may follow a lead byte: how many bytes, and the range of the first of them (Unicode,
// table 3-7).
struct Lead {
  std::size_t following;
  std::uint8_t low, high;
};

Lead classify(std::uint8_t byte) {
  if (byte >= 0xc2 && byte <= 0xdf) return {1, 0x80, 0xbf};
  if (byte == 0xe0) return {2, 0xa0, 0xbf};
  if (byte == 0xed) return {2, 0x80, 0x9f};
  if (byte >= 0xe1 && byte <= 0xef) return {2, 0x80, 0xbf};
  if (byte == 0xf0) return {3, 0x90, 0xbf};
  if (byte >= 0xf1 && byte <= 0xf3) return {3, 0x80, 0xbf};
  if (byte == 0xf4) return {3, 0x80, 0x8f};
  return {0, 0, 0};
}

constexpr char32_t kReplacement = 0xfffd;

}  // namespace

CodePoint decode_utf8(std::string_view text) {
  const auto first = static_cast<std::uint8_t>(text[0]);
  if (first < 0x80) return {first, 1};
  const Lead lead = classify(first);
  if (lead.following == 0) return {kReplacement, 1};
  char32_t value = first & (0x3fu >> lead.following);
  std::uint8_t low = lead.low, high = lead.high;
  for (std::size_t i = 1; i <= lead.following; ++i) {
    if (i >= text.size()) return {kReplacement, i};
    const auto byte = static_cast<std::uint8_t>(text[i]);
    if (byte < low || byte > high) return {kReplacement, i};
    value = (value << 6) | (byte & 0x3fu);
    low = 0x80, high = 0xbf;
  }
  return {value, lead.following + 1};
}

void append_utf8(std::string& text, char32_t value) {
  const auto put = [&](char32_t byte) { text += static_cast<char>(byte); };
  if (value < 0x80) {
    put(value);
  } else if (value < 0x800) {
    put(0xc0 | value >> 6), put(0x80 | (value & 0x3f));
  } else if (value < 0x10000) {
    put(0xe0 | value >> 12), put(0x80 | (value >> 6 & 0x3f)), put(0x80 | (value & 0x3f));
  } else {
    put(0xf0 | value >> 18), put(0x80 | (value >> 12 & 0x3f));
    put(0x80 | (value >> 6 & 0x3f)), put(0x80 | (value & 0x3f));
  }
}

std::string to_valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const CodePoint c = decode_utf8(text);
    append_utf8(out, c.value);
    text.remove_prefix(c.bytes);
  }
  return out;
}

}  // namespace blip2

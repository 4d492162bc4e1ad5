#include "blip2/io/base64.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>

#include "blip2/base/error.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t kBlank = 64, kPadding = 65, kOther = 66;

constexpr std::array<std::uint8_t, 256> make_values() {
  std::array<std::uint8_t, 256> values{};
  values.fill(kOther);
  for (std::size_t i = 0; i < 64; ++i) {
    values[static_cast<std::uint8_t>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  }
  values['-'] = 62;
  values['_'] = 63;
  for (const char c : {' ', '\t', '\r', '\n'}) values[static_cast<std::uint8_t>(c)] = kBlank;
  values['='] = kPadding;
  return values;
}

constexpr std::array<std::uint8_t, 256> kValues = make_values();

std::uint8_t value_of(char c) {
  return kValues[static_cast<std::uint8_t>(c)];
}

[[noreturn]] void refuse_letter(std::string_view text, std::size_t at, const char* expected) {
  throw Error(fmt::format("base64: expected {}, got '{}' at character {}", expected,
                          printable(text.substr(at, 1), 1), at + 1));
}

// Appends the bytes of whole groups of four letters, up to the first group that has another
// character; returns where that begins. This loop does nearly all of the work.
std::size_t decode_groups(std::string_view text, std::string& out) {
  std::size_t at = 0;
  for (; at + 4 <= text.size(); at += 4) {
    const std::uint32_t a = value_of(text[at]), b = value_of(text[at + 1]);
    const std::uint32_t c = value_of(text[at + 2]), d = value_of(text[at + 3]);
    if ((a | b | c | d) >= 64) break;
    const std::uint32_t bits = a << 18 | b << 12 | c << 6 | d;
    const char bytes[] = {static_cast<char>(bits >> 16), static_cast<char>(bits >> 8),
                          static_cast<char>(bits)};
    out.append(bytes, 3);
  }
  return at;
}

// The next four letters from `at` on, with the white space between them left out; fewer at the end
// of the text or before padding.
std::string next_letters(std::string_view text, std::size_t& at) {
  std::string letters;
  for (; at < text.size() && letters.size() < 4; ++at) {
    const std::uint8_t value = value_of(text[at]);
    if (value == kPadding) break;
    if (value == kOther) refuse_letter(text, at, "a letter of base64");
    if (value != kBlank) letters += text[at];
  }
  return letters;
}

// What follows the last letter: padding that fits, and white space.
void check_end(std::string_view text, std::size_t at, std::size_t last_letters) {
  const std::size_t fitting = last_letters == 0 ? 0 : 4 - last_letters;
  std::size_t padding = 0;
  for (; at < text.size(); ++at) {
    const std::uint8_t value = value_of(text[at]);
    if (value == kBlank) continue;
    if (value != kPadding) refuse_letter(text, at, "nothing after the padding");
    if (++padding > fitting) refuse_letter(text, at, "no more padding");
  }
  if (padding != 0 && padding != fitting) {
    throw Error(fmt::format("base64: expected {} characters of padding, got {}", fitting, padding));
  }
}

}  // namespace

std::string decode_base64(std::string_view text) {
  std::string out;
  out.reserve(text.size() / 4 * 3 + 3);
  for (std::size_t at = 0;;) {
    at += decode_groups(text.substr(at), out);
    const std::string letters = next_letters(text, at);
    if (letters.size() == 4) {
      decode_groups(letters, out);
      continue;
    }
    if (letters.size() == 1) {
      throw Error("base64: the text is cut short, one letter is left at its end");
    }
    check_end(text, at, letters.size());
    if (letters.empty()) return out;
    std::string last = letters + std::string(4 - letters.size(), 'A'), bytes;
    decode_groups(last, bytes);
    return out.append(bytes, 0, letters.size() - 1);
  }
}

std::string encode_base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::string_view part = bytes.substr(at, 3);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      bits = bits << 8 | (i < part.size() ? static_cast<std::uint8_t>(part[i]) : 0u);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      out += i <= part.size() ? kAlphabet[bits >> (18 - 6 * i) & 63] : '=';
    }
  }
  return out;
}

}  // namespace blip2

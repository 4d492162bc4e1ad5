#include "blip2/text/base64_internal.h"

#include <cstdint>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string from_base64(std::string_view text, const std::string& where) {
  if (text.size() % 4 != 0) {
    throw Error("base64: expected a multiple of 4 characters, got " + std::to_string(text.size()),
                where);
  }
  const std::size_t length = text.size();
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const std::size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) throw Error("base64: odd character", where);
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count >= 8) out += static_cast<char>(bits >> (count -= 8) & 0xff);
  }
  out.resize(length / 4 * 3 - (length - text.size()));
  return out;
}

std::string to_base64(std::string_view bytes) {
  std::string out;
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

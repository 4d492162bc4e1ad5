#include "blip2/image/picture_kind.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

namespace blip2 {
namespace {

bool has_at(std::span<const std::byte> bytes, std::size_t offset, std::string_view magic) {
  return bytes.size() >= offset + magic.size() &&
         std::memcmp(bytes.data() + offset, magic.data(), magic.size()) == 0;
}

}  // namespace

PictureKind picture_kind_of(std::span<const std::byte> bytes) {
  if (has_at(bytes, 0, "\xff\xd8\xff")) return PictureKind::jpeg;
  if (has_at(bytes, 0, "\x89PNG\r\n\x1a\n")) return PictureKind::png;
  if (has_at(bytes, 0, "RIFF") && has_at(bytes, 8, "WEBP")) return PictureKind::webp;
  return PictureKind::none;
}

bool has_picture_suffix(std::string_view name) {
  static constexpr std::array<std::string_view, 6> kSuffixes{".jpg",  ".jpeg", ".jpe",
                                                             ".jfif", ".png",  ".webp"};
  const std::size_t dot = name.rfind('.');
  if (dot == name.npos || dot == 0) return false;
  std::string suffix(name.substr(dot));
  for (char& c : suffix) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return std::ranges::find(kSuffixes, suffix) != kSuffixes.end();
}

}  // namespace blip2

#include <cstring>

#include "blip2/image/tiff_internal.h"

namespace blip2 {

int bytes_of_tiff_type(std::uint32_t type) {
  switch (type) {
    case kTiffByte:
    case kTiffAscii:
    case kTiffSignedByte:
    case kTiffUndefined:
      return 1;
    case kTiffShort:
    case kTiffSignedShort:
      return 2;
    case kTiffLong:
    case kTiffSignedLong:
    case kTiffFloat:
    case kTiffDirectory:
      return 4;
    case kTiffRational:
    case kTiffSignedRational:
    case kTiffDouble:
    case kTiffLong8:
      return 8;
    default:
      return 0;
  }
}

Tiff::Tiff(std::span<const std::byte> exif) : bytes_(exif) {
  constexpr std::size_t kPrefix = 6;
  for (int i = 0; i < 2 && bytes_.size() >= kPrefix; ++i) {  // some writers put it twice
    if (std::memcmp(bytes_.data(), "Exif\0\0", kPrefix) == 0) bytes_ = bytes_.subspan(kPrefix);
  }
  big_ = at(0) == 'M' && at(1) == 'M';
  // Like Pillow, either order of the magic number.
  valid_ = bytes_.size() >= 8 && (big_ || (at(0) == 'I' && at(1) == 'I')) &&
           (u16(2) == 42 || u16(2) == 42 << 8);
}

std::uint64_t Tiff::number(std::uint64_t o, int count) const {
  std::uint64_t value = 0;
  for (int i = 0; i < count; ++i) {
    const auto place = static_cast<std::uint64_t>(big_ ? i : count - 1 - i);
    value = value << 8 | at(o + place);
  }
  return value;
}

std::optional<TiffEntry> Tiff::find(std::uint64_t directory, std::uint32_t tag) const {
  constexpr std::uint64_t kEntry = 12;
  std::uint64_t apart = 0;  // bytes of values that do not fit their entries
  for (std::uint64_t i = 0; i < u16(directory); ++i) {
    const std::uint64_t entry = directory + 2 + i * kEntry;
    if (!holds(entry, kEntry)) break;
    const std::uint32_t type = u16(entry + 2);
    const auto unit = static_cast<std::uint64_t>(bytes_of_tiff_type(type));
    TiffEntry found{type, entry + 8, u32(entry + 4) * unit};
    if (found.size > 4) {
      found.at = u32(found.at);
      apart += found.size;
      if (apart > size()) continue;             // Pillow passes over what claims more than there is
      if (!holds(found.at, found.size)) break;  // and stops where data are missing
    }
    if (u16(entry) == tag && found.size > 0) return found;
  }
  return std::nullopt;
}

}  // namespace blip2

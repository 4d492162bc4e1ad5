#include "blip2/image/orientation_internal.h"

#include <bit>
#include <cstdint>
#include <cstring>

#include "blip2/image/codecs_internal.h"

namespace blip2 {
namespace {

// A TIFF structure of either byte order; reads beyond its end are 0.
class Tiff {
 public:
  explicit Tiff(std::span<const std::byte> bytes) : bytes_(bytes) {
    big_ = at(0) == 'M' && at(1) == 'M';
    // Like Pillow, either order of the magic number.
    valid_ = bytes.size() >= 8 && (big_ || (at(0) == 'I' && at(1) == 'I')) &&
             (u16(2) == 42 || u16(2) == 42 << 8);
  }
  bool valid() const { return valid_; }
  std::uint64_t size() const { return bytes_.size(); }
  bool holds(std::uint64_t offset, std::uint64_t count) const {
    return offset <= bytes_.size() && count <= bytes_.size() - offset;
  }
  std::uint32_t u16(std::uint64_t o) const { return static_cast<std::uint32_t>(number(o, 2)); }
  std::uint32_t u32(std::uint64_t o) const { return static_cast<std::uint32_t>(number(o, 4)); }
  // `count` bytes as an unsigned number.
  std::uint64_t number(std::uint64_t o, int count) const {
    std::uint64_t value = 0;
    for (int i = 0; i < count; ++i) {
      const auto place = static_cast<std::uint64_t>(big_ ? i : count - 1 - i);
      value = value << 8 | at(o + place);
    }
    return value;
  }

 private:
  std::uint32_t at(std::uint64_t o) const {
    return o < bytes_.size() ? static_cast<std::uint32_t>(bytes_[o]) : 0;
  }
  std::span<const std::byte> bytes_;
  bool big_ = false, valid_ = false;
};

// TIFF's types that Pillow reads.
enum Type {
  kByte = 1,
  kAscii,
  kShort,
  kLong,
  kRational,
  kSignedByte,
  kUndefined,
  kSignedShort,
  kSignedLong,
  kSignedRational,
  kFloat,
  kDouble,
  kDirectory,
  kLong8 = 16
};

// Bytes of a value of that type, 0 if it is none of them.
int bytes_of(std::uint32_t type) {
  switch (type) {
    case kByte:
    case kAscii:
    case kSignedByte:
    case kUndefined:
      return 1;
    case kShort:
    case kSignedShort:
      return 2;
    case kLong:
    case kSignedLong:
    case kFloat:
    case kDirectory:
      return 4;
    case kRational:
    case kSignedRational:
    case kDouble:
    case kLong8:
      return 8;
    default:
      return 0;
  }
}

// The value as an orientation, 0 if it is no number from 1 to 8. Negative ones never are.
int orientation_at(const Tiff& tiff, std::uint32_t type, std::uint64_t at) {
  double value = 0;
  switch (type) {
    case kByte:
    case kAscii:
    case kUndefined:
      return 0;  // bytes to Pillow, whatever they are
    case kRational:
    case kSignedRational: {
      const auto part = [&](std::uint64_t o) -> double {
        const std::uint32_t bits = tiff.u32(o);
        return type == kRational ? bits : static_cast<std::int32_t>(bits);
      };
      value = part(at) / part(at + 4);
      break;
    }
    case kFloat:
      value = std::bit_cast<float>(tiff.u32(at));
      break;
    case kDouble:
      value = std::bit_cast<double>(tiff.number(at, 8));
      break;
    default:
      value = static_cast<double>(tiff.number(at, bytes_of(type)));
  }
  for (int orientation = 1; orientation <= 8; ++orientation) {
    if (value == orientation) return orientation;
  }
  return 0;
}

// Where the upright picture's first pixel lies in the stored one, and the steps, in pixels, to the
// next one to its right and below it.
struct Walk {
  std::ptrdiff_t start, right, down;
};

Walk walk_of(std::ptrdiff_t w, std::ptrdiff_t h, int orientation) {
  switch (orientation) {
    case 2:
      return {w - 1, -1, w};
    case 3:
      return {w * h - 1, -1, -w};
    case 4:
      return {w * (h - 1), 1, -w};
    case 5:
      return {0, w, 1};
    case 6:
      return {w * (h - 1), -w, 1};
    case 7:
      return {w * h - 1, -w, -1};
    default:
      return {w - 1, w, -1};
  }
}

}  // namespace

std::optional<int> exif_orientation(std::span<const std::byte> exif) {
  constexpr std::size_t kPrefix = 6, kEntry = 12;
  for (int i = 0; i < 2 && exif.size() >= kPrefix; ++i) {  // some writers put it twice
    if (std::memcmp(exif.data(), "Exif\0\0", kPrefix) == 0) exif = exif.subspan(kPrefix);
  }
  if (exif.empty()) return std::nullopt;
  const Tiff tiff(exif);
  if (!tiff.valid()) return 0;
  const std::uint64_t directory = tiff.u32(4);
  std::uint64_t apart = 0;  // bytes of values that do not fit their entries
  for (std::uint64_t i = 0; i < tiff.u16(directory); ++i) {
    const std::uint64_t entry = directory + 2 + i * kEntry;
    if (!tiff.holds(entry, kEntry)) break;
    const std::uint32_t type = tiff.u16(entry + 2);
    const std::uint64_t size = std::uint64_t{tiff.u32(entry + 4)} * bytes_of(type);
    std::uint64_t value = entry + 8;
    if (size > 4) {
      value = tiff.u32(value);
      apart += size;
      if (apart > tiff.size()) continue;    // Pillow passes over what claims more than there is
      if (!tiff.holds(value, size)) break;  // and stops where data are missing
    }
    if (tiff.u16(entry) == 0x0112 && size > 0) return orientation_at(tiff, type, value);
  }
  return std::nullopt;
}

int xmp_orientation(std::string_view xmp) {
  constexpr std::string_view kTag = "tiff:Orientation";
  for (std::size_t at = xmp.find(kTag); at != xmp.npos; at = xmp.find(kTag, at + 1)) {
    std::string_view rest = xmp.substr(at + kTag.size());
    if (rest.starts_with("=\""))
      rest.remove_prefix(1);
    else if (!rest.starts_with(">"))
      continue;
    if (rest.size() > 1 && rest[1] >= '0' && rest[1] <= '9') return rest[1] - '0';
  }
  return 0;
}

Image upright(Image image, int orientation) {
  if (orientation < 2 || orientation > 8) return image;
  const bool turned = orientation >= 5;
  Image out = blank_image(turned ? image.height : image.width, turned ? image.width : image.height);
  const Walk walk = walk_of(image.width, image.height, orientation);
  std::uint8_t* to = out.rgb.data();
  for (std::ptrdiff_t y = 0; y < out.height; ++y) {
    const std::uint8_t* from = image.rgb.data() + 3 * (walk.start + y * walk.down);
    for (std::ptrdiff_t x = 0; x < out.width; ++x, to += 3) {
      std::memcpy(to, from + 3 * x * walk.right, 3);
    }
  }
  return out;
}

}  // namespace blip2

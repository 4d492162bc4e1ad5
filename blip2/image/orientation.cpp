#include "blip2/image/orientation_internal.h"

#include <bit>
#include <cstdint>
#include <cstring>

#include "blip2/image/codecs_internal.h"
#include "blip2/image/tiff_internal.h"

namespace blip2 {
namespace {

// The value as an orientation, 0 if it is no number from 1 to 8. Negative ones never are.
int orientation_at(const Tiff& tiff, const TiffEntry& entry) {
  const std::uint32_t type = entry.type;
  const std::uint64_t at = entry.at;
  double value = 0;
  switch (type) {
    case kTiffByte:
    case kTiffAscii:
    case kTiffUndefined:
      return 0;  // bytes to Pillow, whatever they are
    case kTiffRational:
    case kTiffSignedRational: {
      const auto part = [&](std::uint64_t o) -> double {
        const std::uint32_t bits = tiff.u32(o);
        return type == kTiffRational ? bits : static_cast<std::int32_t>(bits);
      };
      value = part(at) / part(at + 4);
      break;
    }
    case kTiffFloat:
      value = std::bit_cast<float>(tiff.u32(at));
      break;
    case kTiffDouble:
      value = std::bit_cast<double>(tiff.number(at, 8));
      break;
    default:
      value = static_cast<double>(tiff.number(at, bytes_of_tiff_type(type)));
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
  constexpr std::uint32_t kOrientation = 0x0112;
  const Tiff tiff(exif);
  if (tiff.empty()) return std::nullopt;
  if (!tiff.valid()) return 0;
  const auto entry = tiff.find(tiff.first_directory(), kOrientation);
  return entry ? std::optional(orientation_at(tiff, *entry)) : std::nullopt;
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

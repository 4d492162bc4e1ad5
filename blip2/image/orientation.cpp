#include "blip2/image/orientation.h"

#include <array>
#include <cstdint>
#include <cstring>

#include "blip2/image/codecs.h"

namespace blip2 {
namespace {

// A TIFF structure of either byte order; reads beyond its end are 0.
class Tiff {
 public:
  explicit Tiff(std::span<const std::byte> bytes) : bytes_(bytes) {
    big_ = at(0) == 'M' && at(1) == 'M';
    valid_ = (big_ || (at(0) == 'I' && at(1) == 'I')) && u16(2) == 42;
  }
  bool valid() const { return valid_; }
  bool holds(std::size_t offset, std::size_t count) const {
    return offset <= bytes_.size() && count <= bytes_.size() - offset;
  }
  std::uint32_t u16(std::size_t o) const {
    return big_ ? at(o) << 8 | at(o + 1) : at(o + 1) << 8 | at(o);
  }
  std::uint32_t u32(std::size_t o) const {
    return big_ ? u16(o) << 16 | u16(o + 2) : u16(o + 2) << 16 | u16(o);
  }

 private:
  std::uint32_t at(std::size_t o) const {
    return o < bytes_.size() ? static_cast<std::uint32_t>(bytes_[o]) : 0;
  }
  std::span<const std::byte> bytes_;
  bool big_ = false, valid_ = false;
};

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

int exif_orientation(std::span<const std::byte> exif) {
  constexpr std::size_t kPrefix = 6;
  for (int i = 0; i < 2 && exif.size() >= kPrefix; ++i) {  // some writers put it twice
    if (std::memcmp(exif.data(), "Exif\0\0", kPrefix) == 0) exif = exif.subspan(kPrefix);
  }
  const Tiff tiff(exif);
  if (!tiff.valid()) return 0;
  const std::size_t directory = tiff.u32(4);
  int orientation = 0;
  for (std::size_t i = 0; i < tiff.u16(directory); ++i) {
    const std::size_t entry = directory + 2 + i * 12;
    if (!tiff.holds(entry, 12)) break;
    if (tiff.u16(entry) != 0x0112 || tiff.u32(entry + 4) != 1) continue;
    const std::uint32_t type = tiff.u16(entry + 2);  // 3 SHORT, 4 LONG
    if (type == 3) orientation = static_cast<int>(tiff.u16(entry + 8));
    if (type == 4) orientation = static_cast<int>(tiff.u32(entry + 8));
  }
  return orientation;
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

#include <algorithm>

#include "blip2/io/iso_boxes.h"
#include "blip2/protocols/picture_size_internal.h"

namespace blip2 {
namespace {

using namespace std::string_view_literals;

constexpr PictureSize kDamaged{};

// The number in the `count` bytes at `at`; 0 beyond the end.
std::uint64_t long_number(std::string_view bytes, std::size_t at, std::size_t count,
                          bool big_endian) {
  if (at > bytes.size() || count > bytes.size() - at) return 0;
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t place = big_endian ? at + i : at + count - 1 - i;
    value = value << 8 | static_cast<std::uint8_t>(bytes[place]);
  }
  return value;
}

// Of up to four bytes.
std::uint32_t number(std::string_view bytes, std::size_t at, std::size_t count, bool big_endian) {
  return static_cast<std::uint32_t>(long_number(bytes, at, count, big_endian));
}

PictureSize png_size(std::string_view bytes) {
  constexpr std::size_t kChunk = 8, kHeader = 33;  // the signature; the end of IHDR
  if (bytes.size() < kHeader || bytes.substr(kChunk + 4, 4) != "IHDR") return kDamaged;
  const std::int64_t width = number(bytes, 16, 4, true), height = number(bytes, 20, 4, true);
  constexpr std::int64_t kMost = 0x7fffffff;
  return width > kMost || height > kMost ? kDamaged : PictureSize{width, height};
}

// Whether the marker begins a frame (SOF0 to SOF15, without DHT, JPG and DAC; and SOF55 of
// JPEG-LS).
bool begins_frame(std::uint32_t marker) {
  return (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) ||
         marker == 0xf7;
}

bool stands_alone(std::uint32_t marker) {
  return marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8);
}

// Walks over the segments before the first frame.
PictureSize jpeg_size(std::string_view bytes) {
  for (std::size_t at = 2; at + 4 <= bytes.size();) {
    if (bytes[at] != '\xff') return kDamaged;
    const std::uint32_t marker = number(bytes, at + 1, 1, true);
    if (marker == 0xff) {  // fill
      ++at;
      continue;
    }
    if (begins_frame(marker))
      return {number(bytes, at + 7, 2, true), number(bytes, at + 5, 2, true)};
    if (marker == 0xd9 || marker == 0xda) return kDamaged;  // the end, or pixels without a frame
    const std::uint32_t length = stands_alone(marker) ? 0 : number(bytes, at + 2, 2, true);
    if (!stands_alone(marker) && length < 2) return kDamaged;
    at += 2 + length;
  }
  return kDamaged;
}

PictureSize webp_size(std::string_view bytes) {
  const std::string_view kind = bytes.substr(std::min<std::size_t>(12, bytes.size()), 4);
  if (bytes.size() < 30) return kDamaged;
  if (kind == "VP8X") {
    return {number(bytes, 24, 3, false) + std::int64_t{1},
            number(bytes, 27, 3, false) + std::int64_t{1}};
  }
  if (kind == "VP8L" && bytes[20] == '\x2f') {
    const std::uint32_t bits = number(bytes, 21, 4, false);
    return {(bits & 0x3fff) + std::int64_t{1}, (bits >> 14 & 0x3fff) + std::int64_t{1}};
  }
  if (kind == "VP8 " && bytes.substr(23, 3) == "\x9d\x01\x2a"sv) {
    return {number(bytes, 26, 2, false) & 0x3fff, number(bytes, 28, 2, false) & 0x3fff};
  }
  return kDamaged;
}

// The canvas; a first picture that is larger widens it when it is decoded.
PictureSize gif_size(std::string_view bytes) {
  constexpr std::size_t kScreen = 13;
  if (bytes.size() < kScreen) return kDamaged;
  return {number(bytes, 6, 2, false), number(bytes, 8, 2, false)};
}

PictureSize bmp_size(std::string_view bytes) {
  const std::uint32_t header = number(bytes, 14, 4, false);
  if (bytes.size() < 26) return kDamaged;
  if (header == 12) return {number(bytes, 18, 2, false), number(bytes, 20, 2, false)};
  const std::int64_t width = number(bytes, 18, 4, false), height = number(bytes, 22, 4, false);
  const bool top_down = height >> 24 == 0xff;
  return {width, top_down ? (std::int64_t{1} << 32) - height : height};
}

// The two tags of the first directory, of TIFF or BigTIFF.
PictureSize tiff_size(std::string_view bytes) {
  constexpr std::uint32_t kWidth = 256, kHeight = 257, kShort = 3;
  const bool big_endian = bytes[0] == 'M', big = number(bytes, 2, 2, big_endian) == 43;
  const std::uint64_t directory = long_number(bytes, big ? 8 : 4, big ? 8 : 4, big_endian);
  const std::uint64_t entries = long_number(bytes, directory, big ? 8 : 2, big_endian);
  std::uint64_t at = directory + (big ? 8 : 2);
  PictureSize size;
  for (std::uint64_t i = 0; i < entries && at < bytes.size(); ++i, at += big ? 20 : 12) {
    const std::uint32_t tag = number(bytes, at, 2, big_endian);
    const std::size_t width = number(bytes, at + 2, 2, big_endian) == kShort ? 2 : 4;
    const std::uint32_t value = number(bytes, at + (big ? 12 : 8), width, big_endian);
    if (tag == kWidth) size.width = value;
    if (tag == kHeight) size.height = value;
  }
  return size;
}

// The largest picture among the properties: a grid of tiles is larger than any of them.
PictureSize heif_size(std::string_view bytes) {
  std::string_view properties = item_properties(bytes);
  PictureSize largest;
  while (!properties.empty()) {
    const IsoBox box = take_box(properties);
    if (box.kind != "ispe") continue;
    const PictureSize found{static_cast<std::int64_t>(big_endian_at(box.content, 4, 4)),
                            static_cast<std::int64_t>(big_endian_at(box.content, 8, 4))};
    constexpr std::int64_t kMost = 0x7fffffff;
    if (found.width > kMost || found.height > kMost) return kDamaged;
    if (found.width * found.height > largest.width * largest.height) largest = found;
  }
  return largest;
}

}  // namespace

PictureSize picture_size(std::string_view bytes, PictureFormat format) {
  switch (format) {
    case PictureFormat::jpeg:
      return jpeg_size(bytes);
    case PictureFormat::png:
      return png_size(bytes);
    case PictureFormat::webp:
      return webp_size(bytes);
    case PictureFormat::gif:
      return gif_size(bytes);
    case PictureFormat::bmp:
      return bmp_size(bytes);
    case PictureFormat::tiff:
      return tiff_size(bytes);
    case PictureFormat::avif:
    case PictureFormat::heic:
      return heif_size(bytes);
  }
  return kDamaged;
}

}  // namespace blip2

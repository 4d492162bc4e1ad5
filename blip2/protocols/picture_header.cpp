#include "blip2/protocols/picture_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "blip2/protocols/foreign_format_internal.h"
#include "blip2/protocols/request_error.h"

namespace blip2 {
namespace {

using namespace std::string_view_literals;

struct Size {
  std::int64_t width = 0, height = 0;
};

constexpr Size kDamaged{};

// The number in the `count` bytes at `at`; 0 beyond the end.
std::uint32_t number(std::string_view bytes, std::size_t at, std::size_t count, bool big_endian) {
  if (at + count > bytes.size()) return 0;
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t place = big_endian ? at + i : at + count - 1 - i;
    value = value << 8 | static_cast<std::uint8_t>(bytes[place]);
  }
  return value;
}

Size png_size(std::string_view bytes) {
  constexpr std::size_t kChunk = 8, kHeader = 33;  // the signature; the end of IHDR
  if (bytes.size() < kHeader || bytes.substr(kChunk + 4, 4) != "IHDR") return kDamaged;
  const std::int64_t width = number(bytes, 16, 4, true), height = number(bytes, 20, 4, true);
  constexpr std::int64_t kMost = 0x7fffffff;
  return width > kMost || height > kMost ? kDamaged : Size{width, height};
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
Size jpeg_size(std::string_view bytes) {
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

Size webp_size(std::string_view bytes) {
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

struct Format {
  PictureFormat format;
  const char* name;
  Size (*size)(std::string_view bytes);
};

// Nullptr if the bytes begin like none of the formats that are read.
const Format* format_of(std::string_view bytes) {
  static constexpr Format kJpeg{PictureFormat::jpeg, "JPEG", jpeg_size};
  static constexpr Format kPng{PictureFormat::png, "PNG", png_size};
  static constexpr Format kWebp{PictureFormat::webp, "WebP", webp_size};
  if (bytes.starts_with("\xff\xd8\xff"sv)) return &kJpeg;
  if (bytes.starts_with("\x89PNG\r\n\x1a\n"sv)) return &kPng;
  const bool webp = bytes.size() >= 12 && bytes.starts_with("RIFF") && bytes.substr(8, 4) == "WEBP";
  return webp ? &kWebp : nullptr;
}

[[noreturn]] void refuse_picture(const char* code, const std::string& param,
                                 const std::string& message) {
  throw RequestError(400, code, param, param.empty() ? message : param + ": " + message);
}

[[noreturn]] void refuse_format(std::string_view bytes, const std::string& param) {
  const std::string_view name = foreign_format(bytes);
  refuse_picture("unsupported_image_format", param,
                 fmt::format("expected a JPEG, PNG or WebP picture, got {}",
                             name.empty() ? "a file of no known format" : name));
}

}  // namespace

PictureHeader check_picture(std::string_view bytes, const PictureRules& rules,
                            const std::string& param) {
  if (bytes.empty()) refuse_picture("invalid_image", param, "the picture is empty (0 bytes)");
  const Format* format = format_of(bytes);
  if (format == nullptr) refuse_format(bytes, param);
  if (bytes.size() > rules.max_bytes) {
    refuse_picture("image_too_large", param,
                   fmt::format("the {} picture has {} bytes, the limit is {} bytes", format->name,
                               bytes.size(), rules.max_bytes));
  }
  const Size size = format->size(bytes);
  if (size.width <= 0 || size.height <= 0) {
    refuse_picture(
        "invalid_image", param,
        fmt::format("the {} picture is damaged or cut short in its header", format->name));
  }
  if (size.width * size.height > rules.max_pixels) {  // no overflow: each is below 2^31
    refuse_picture("image_too_large", param,
                   fmt::format("the {} picture has {} x {} pixels, the limit is {} pixels",
                               format->name, size.width, size.height, rules.max_pixels));
  }
  return {format->format, size.width, size.height};
}

}  // namespace blip2

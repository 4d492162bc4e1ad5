#include <fmt/format.h>
#include <webp/decode.h>

#include <cstring>
#include <optional>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/image/codecs_internal.h"
#include "blip2/image/orientation_internal.h"

namespace blip2 {
namespace {

std::uint32_t little_endian(std::span<const std::byte> bytes, std::size_t offset, int count) {
  std::uint32_t value = 0;
  for (int i = count - 1; i >= 0; --i) {
    value = value << 8 | static_cast<std::uint32_t>(bytes[offset + static_cast<std::size_t>(i)]);
  }
  return value;
}

// The content of the file's first chunk of that kind.
std::optional<std::span<const std::byte>> find_chunk(std::span<const std::byte> bytes,
                                                     std::string_view kind) {
  constexpr std::size_t kHeader = 8;
  std::size_t offset = 12;  // after "RIFF", the size and "WEBP"
  while (offset + kHeader <= bytes.size()) {
    const std::size_t size = little_endian(bytes, offset + 4, 4);
    if (size > bytes.size() - offset - kHeader) break;
    if (std::memcmp(bytes.data() + offset, kind.data(), 4) == 0) {
      return bytes.subspan(offset + kHeader, size);
    }
    offset += kHeader + size + size % 2;
  }
  return std::nullopt;
}

const char* reason(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      return "the file is cut short";
    case VP8_STATUS_OUT_OF_MEMORY:
      return "out of memory";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "it uses a feature that libwebp does not know";
    default:
      return "its bit stream is broken";
  }
}

void require(VP8StatusCode status, const std::string& where) {
  if (status != VP8_STATUS_OK) {
    throw Error(fmt::format("damaged WebP: {}", reason(status)), where);
  }
}

// Decodes a still picture of known size into `pixels`, whose rows are `stride` bytes apart.
void decode_into(std::span<const std::byte> bytes, WEBP_CSP_MODE mode, std::uint8_t* pixels,
                 std::size_t size, int stride, const std::string& where) {
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) throw Error("libwebp could not start", where);
  config.output.colorspace = mode;
  config.output.is_external_memory = 1;
  config.output.u.RGBA = {pixels, stride, size};
  require(WebPDecode(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(), &config),
          where);
}

WebPBitstreamFeatures features_of(std::span<const std::byte> bytes, const std::string& where) {
  WebPBitstreamFeatures features;
  require(
      WebPGetFeatures(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(), &features),
      where);
  return features;
}

// The first frame of an animation (ANMF: x/2, y/2, width-1, height-1, duration, flags, picture) on
// a transparent canvas.
std::vector<std::uint8_t> first_frame(std::span<const std::byte> bytes, int width, int height,
                                      const std::string& where) {
  const auto frame = find_chunk(bytes, "ANMF");
  if (!frame || frame->size() < 16) throw Error("damaged WebP: no first frame", where);
  const std::uint32_t x = 2 * little_endian(*frame, 0, 3), y = 2 * little_endian(*frame, 3, 3);
  const std::span<const std::byte> picture = frame->subspan(16);
  const WebPBitstreamFeatures features = features_of(picture, where);
  const auto w = static_cast<std::uint32_t>(width), h = static_cast<std::uint32_t>(height);
  if (x + static_cast<std::uint32_t>(features.width) > w ||
      y + static_cast<std::uint32_t>(features.height) > h ||
      static_cast<std::uint32_t>(features.width) != little_endian(*frame, 6, 3) + 1 ||
      static_cast<std::uint32_t>(features.height) != little_endian(*frame, 9, 3) + 1) {
    throw Error("damaged WebP: the first frame does not fit its canvas", where);
  }
  std::vector<std::uint8_t> canvas(std::size_t{w} * h * 4);
  const std::size_t start = (std::size_t{y} * w + x) * 4;
  decode_into(picture, MODE_RGBA, canvas.data() + start, canvas.size() - start, 4 * width, where);
  return canvas;
}

void make_opaque(std::vector<std::uint8_t>& rgba) {
  for (std::size_t i = 3; i < rgba.size(); i += 4) rgba[i] = 255;
}

// Fills in the EXIF block and the orientation, which it says or else XMP. Chunks count only if the
// extended header's flags announce them, as libwebp's demuxer has it.
void read_metadata(std::span<const std::byte> bytes, Decoded& decoded) {
  constexpr unsigned kExif = 8, kXmp = 4;
  const auto header = find_chunk(bytes, "VP8X");
  if (!header || header->empty()) return;
  const auto flags = static_cast<unsigned>((*header)[0]);
  if (const auto exif = find_chunk(bytes, "EXIF"); exif && (flags & kExif) != 0) {
    decoded.exif.assign(exif->begin(), exif->end());
  }
  std::optional<int> orientation = exif_orientation(decoded.exif);
  const auto xmp = find_chunk(bytes, "XMP ");
  if (!orientation && xmp && (flags & kXmp) != 0) {
    orientation = xmp_orientation({reinterpret_cast<const char*>(xmp->data()), xmp->size()});
  }
  decoded.orientation = orientation.value_or(0);
}

}  // namespace

Decoded decode_webp(std::span<const std::byte> bytes, const std::string& where,
                    const ImageLimits& limits) {
  const WebPBitstreamFeatures features = features_of(bytes, where);
  check_size(features.width, features.height, 4, where, limits);
  const int width = features.width, height = features.height;
  const std::size_t stride = static_cast<std::size_t>(width) * 4;
  Decoded decoded;
  read_metadata(bytes, decoded);
  if (features.has_animation) {
    std::vector<std::uint8_t> rgba = first_frame(bytes, width, height, where);
    if (!features.has_alpha) make_opaque(rgba);
    decoded.image = from_rgba(rgba.data(), stride, width, height);
  } else if (features.has_alpha) {
    std::vector<std::uint8_t> rgba(stride * static_cast<std::size_t>(height));
    decode_into(bytes, MODE_RGBA, rgba.data(), rgba.size(), 4 * width, where);
    decoded.image = from_rgba(rgba.data(), stride, width, height);
  } else {
    decoded.image = blank_image(width, height);
    decode_into(bytes, MODE_RGB, decoded.image.rgb.data(), decoded.image.rgb.size(), 3 * width,
                where);
  }
  return decoded;
}

}  // namespace blip2

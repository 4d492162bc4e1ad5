#include "blip2/image/image.h"

#include <fmt/format.h>

#include <cstring>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/image/codecs_internal.h"
#include "blip2/image/orientation_internal.h"
#include "blip2/io/tar_place.h"

namespace blip2 {
namespace {

bool has_at(std::span<const std::byte> bytes, std::size_t offset, std::string_view magic) {
  return bytes.size() >= offset + magic.size() &&
         std::memcmp(bytes.data() + offset, magic.data(), magic.size()) == 0;
}

Decoded decode_any(std::span<const std::byte> bytes, const std::string& where,
                   SixteenBit sixteen_bit, const ImageLimits& limits) {
  if (has_at(bytes, 0, "\xff\xd8\xff")) return decode_jpeg(bytes, where, limits);
  if (has_at(bytes, 0, "\x89PNG\r\n\x1a\n")) {
    return decode_png(bytes, where, sixteen_bit, limits);
  }
  if (has_at(bytes, 0, "RIFF") && has_at(bytes, 8, "WEBP")) {
    return decode_webp(bytes, where, limits);
  }
  throw Error(bytes.empty() ? "the file is empty" : "not a JPEG, PNG or WebP picture", where,
              "convert it to one of these formats");
}

}  // namespace

void check_size(std::int64_t width, std::int64_t height, int bytes_per_pixel,
                const std::string& where, const ImageLimits& limits) {
  if (width <= 0 || height <= 0) {
    throw Error(fmt::format("the picture is empty ({} x {})", width, height), where);
  }
  const std::int64_t pixels = width * height;  // no overflow: each fits in 32 bits
  if (pixels > limits.max_pixels) {
    throw Error(fmt::format("the picture has {} x {} pixels, the limit is {} pixels", width, height,
                            limits.max_pixels),
                where, "scale it down, or raise the limit if you trust it");
  }
  if (static_cast<std::uint64_t>(pixels) * static_cast<std::uint64_t>(bytes_per_pixel) >
      limits.max_bytes) {
    throw Error(fmt::format("decoding {} x {} pixels takes {} bytes each, the limit is {} bytes",
                            width, height, bytes_per_pixel, limits.max_bytes),
                where, "scale it down, or raise the limit if you trust it");
  }
}

Image blank_image(int width, int height) {
  Image image{width, height, {}};
  image.rgb.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  return image;
}

Image decode_image(std::span<const std::byte> bytes, const std::string& where,
                   SixteenBit sixteen_bit, const ImageLimits& limits) {
  if (bytes.size() > limits.max_bytes) {
    throw Error(
        fmt::format("the file has {} bytes, the limit is {}", bytes.size(), limits.max_bytes),
        where);
  }
  Decoded decoded = decode_any(bytes, where, sixteen_bit, limits);
  return upright(std::move(decoded.image), decoded.orientation);
}

Image load_image(const std::filesystem::path& path, SixteenBit sixteen_bit,
                 const ImageLimits& limits) {
  const std::string file = read_source(path.string(), limits.max_bytes);
  return decode_image(std::as_bytes(std::span(file)), path.string(), sixteen_bit, limits);
}

}  // namespace blip2

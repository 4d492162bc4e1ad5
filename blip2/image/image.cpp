#include "blip2/image/image.h"

#include <fmt/format.h>

#include "blip2/base/error.h"
#include "blip2/image/codecs_internal.h"
#include "blip2/image/orientation_internal.h"
#include "blip2/image/picture_kind.h"
#include "blip2/io/tar_place.h"

namespace blip2 {

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

Decoded decode_stored(std::span<const std::byte> bytes, const std::string& where,
                      SixteenBit sixteen_bit, const ImageLimits& limits) {
  if (bytes.size() > limits.max_bytes) {
    throw Error(
        fmt::format("the file has {} bytes, the limit is {}", bytes.size(), limits.max_bytes),
        where);
  }
  switch (picture_kind_of(bytes)) {
    case PictureKind::jpeg:
      return decode_jpeg(bytes, where, limits);
    case PictureKind::png:
      return decode_png(bytes, where, sixteen_bit, limits);
    case PictureKind::webp:
      return decode_webp(bytes, where, limits);
    case PictureKind::none:
      break;
  }
  throw Error(bytes.empty() ? "the file is empty" : "not a JPEG, PNG or WebP picture", where,
              "convert it to one of these formats");
}

Image decode_image(std::span<const std::byte> bytes, const std::string& where,
                   SixteenBit sixteen_bit, const ImageLimits& limits) {
  Decoded decoded = decode_stored(bytes, where, sixteen_bit, limits);
  return upright(std::move(decoded.image), decoded.orientation);
}

Image load_image(const std::filesystem::path& path, SixteenBit sixteen_bit,
                 const ImageLimits& limits) {
  const std::string file = read_source(path.string(), limits.max_bytes);
  return decode_image(std::as_bytes(std::span(file)), path.string(), sixteen_bit, limits);
}

}  // namespace blip2

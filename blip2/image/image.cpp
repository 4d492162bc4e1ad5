#include "blip2/image/image.h"

#include <fmt/format.h>

#include <cstring>
#include <mutex>
#include <optional>
#include <string_view>

#include "blip2/base/error.h"
#include "blip2/base/log.h"
#include "blip2/image/codecs_internal.h"
#include "blip2/image/orientation_internal.h"
#include "blip2/io/picture_format.h"
#include "blip2/io/tar_place.h"

namespace blip2 {
namespace {

Decoded decode_any(std::span<const std::byte> bytes, const std::string& where,
                   SixteenBit sixteen_bit, const ImageLimits& limits) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::optional<PictureFormat> format = picture_format(text);
  if (!format) {
    throw Error(
        bytes.empty() ? "the file is empty" : fmt::format("not a {} picture", picture_names()),
        where, "convert it to one of these formats");
  }
  switch (*format) {
    case PictureFormat::jpeg:
      return decode_jpeg(bytes, where, limits);
    case PictureFormat::png:
      return decode_png(bytes, where, sixteen_bit, limits);
    case PictureFormat::webp:
      return decode_webp(bytes, where, limits);
    case PictureFormat::gif:
      return decode_gif(bytes, where, limits);
    case PictureFormat::bmp:
      return decode_bmp(bytes, where, limits);
    case PictureFormat::tiff:
      return decode_tiff(bytes, where, sixteen_bit, limits);
    case PictureFormat::avif:
      return decode_avif(bytes, where, limits);
    case PictureFormat::heic:
      return decode_heic(bytes, where, limits);
  }
  throw Error("a format without a decoder", where);
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

void from_palette(std::span<const std::uint8_t> indices, const Palette& palette, Image& image) {
  std::uint8_t* rgb = image.rgb.data();
  for (const std::uint8_t index : indices) {
    std::memcpy(rgb, palette[index].data(), 3);
    rgb += 3;
  }
}

Image from_rgba(const std::uint8_t* rgba, std::size_t stride, int width, int height) {
  Image image = blank_image(width, height);
  std::uint8_t* rgb = image.rgb.data();
  for (int y = 0; y < height; ++y) {
    const std::uint8_t* in = rgba + static_cast<std::size_t>(y) * stride;
    for (int x = 0; x < width; ++x, in += 4, rgb += 3) {
      for (int c = 0; c < 3; ++c) rgb[c] = over_white(in[c], in[3]);
    }
  }
  return image;
}

void warn_of_cut(const std::string& where) {
  static std::once_flag told;
  std::call_once(told, [&where] {
    log_warning(
        "{}: 16-bit grey above 255 becomes white, as in Pillow; --sixteen-bit scale keeps its "
        "shades"
        " (said once)",
        where);
  });
}

Decoded decode_stored(std::span<const std::byte> bytes, const std::string& where,
                      SixteenBit sixteen_bit, const ImageLimits& limits) {
  if (bytes.size() > limits.max_bytes) {
    throw Error(
        fmt::format("the file has {} bytes, the limit is {}", bytes.size(), limits.max_bytes),
        where);
  }
  return decode_any(bytes, where, sixteen_bit, limits);
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

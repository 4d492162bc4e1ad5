#include <avif/avif.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/image/codec_library_internal.h"
#include "blip2/image/codecs_internal.h"
#include "blip2/image/orientation_internal.h"

namespace blip2 {
namespace {

struct AvifLibrary {
  CodecLibrary library{BLIP2_AVIF_LIBRARY, "AVIF"};
  decltype(&avifDecoderCreate) create = library.find("avifDecoderCreate");
  decltype(&avifDecoderDestroy) destroy = library.find("avifDecoderDestroy");
  decltype(&avifDecoderSetIOMemory) set_memory = library.find("avifDecoderSetIOMemory");
  decltype(&avifDecoderParse) parse = library.find("avifDecoderParse");
  decltype(&avifDecoderNextImage) next_image = library.find("avifDecoderNextImage");
  decltype(&avifRGBImageSetDefaults) set_defaults = library.find("avifRGBImageSetDefaults");
  decltype(&avifImageYUVToRGB) to_rgb = library.find("avifImageYUVToRGB");
  decltype(&avifResultToString) text_of = library.find("avifResultToString");
};

const AvifLibrary& avif_library() {
  static const AvifLibrary library;
  return library;
}

void require_avif(avifResult result, const std::string& where) {
  if (result == AVIF_RESULT_OK) return;
  if (result == AVIF_RESULT_NO_CODEC_AVAILABLE) {
    throw Error("libavif has no decoder for AV1", where, "install libdav1d");
  }
  if (result == AVIF_RESULT_TRUNCATED_DATA) {
    throw Error("damaged AVIF: the file is cut short", where);
  }
  throw Error(fmt::format("damaged AVIF: {}", avif_library().text_of(result)), where);
}

// The orientation of EXIF that the file's irot and imir amount to, 1 if it has none.
int orientation_of(const avifImage& image) {
  // [turns by 90 degrees against the clock][no mirror, mirror top and bottom, left and right]
  static constexpr int kOrientation[4][3] = {{1, 4, 2}, {8, 5, 7}, {3, 2, 4}, {6, 7, 5}};
  const int turns = (image.transformFlags & AVIF_TRANSFORM_IROT) != 0 ? image.irot.angle & 3 : 0;
  if ((image.transformFlags & AVIF_TRANSFORM_IMIR) == 0) return kOrientation[turns][0];
#if AVIF_VERSION >= 1000000
  return kOrientation[turns][1 + (image.imir.axis & 1)];
#else
  return kOrientation[turns][1 + (image.imir.mode & 1)];
#endif
}

// As in Pillow the container's transformations replace EXIF's orientation, and XMP counts only
// where neither says anything.
int avif_orientation(const avifImage& image) {
  const int orientation = orientation_of(image);
  if (orientation != 1) return orientation;
  const std::span exif(reinterpret_cast<const std::byte*>(image.exif.data), image.exif.size);
  if (exif.size() > 0 && exif_orientation(exif)) return 1;
  return xmp_orientation({reinterpret_cast<const char*>(image.xmp.data), image.xmp.size});
}

// The first picture's colours, as rows of RGB or RGBA.
std::vector<std::uint8_t> avif_pixels(const avifImage& image, bool alpha,
                                      const std::string& where) {
  avifRGBImage rgb{};
  avif_library().set_defaults(&rgb, &image);
  rgb.depth = 8;
  rgb.format = alpha ? AVIF_RGB_FORMAT_RGBA : AVIF_RGB_FORMAT_RGB;
  rgb.rowBytes = image.width * (alpha ? 4 : 3);
  std::vector<std::uint8_t> pixels(std::size_t{rgb.rowBytes} * image.height);
  rgb.pixels = pixels.data();
  require_avif(avif_library().to_rgb(&image, &rgb), where);
  return pixels;
}

}  // namespace

Decoded decode_avif(std::span<const std::byte> bytes, const std::string& where,
                    const ImageLimits& limits) {
  const AvifLibrary& library = avif_library();
  const std::unique_ptr<avifDecoder, decltype(library.destroy)> decoder(library.create(),
                                                                        library.destroy);
  if (decoder == nullptr) throw Error("libavif could not start", where);
  decoder->maxThreads = 1;
  decoder->imageSizeLimit = static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(limits.max_pixels, 1, AVIF_DEFAULT_IMAGE_SIZE_LIMIT));
  decoder->strictFlags &= ~static_cast<avifStrictFlags>(AVIF_STRICT_CLAP_VALID |
                                                        AVIF_STRICT_PIXI_REQUIRED);  // as Pillow
  require_avif(
      library.set_memory(decoder.get(), reinterpret_cast<const std::uint8_t*>(bytes.data()),
                         bytes.size()),
      where);
  require_avif(library.parse(decoder.get()), where);
  check_size(decoder->image->width, decoder->image->height, 8, where, limits);
  require_avif(library.next_image(decoder.get()), where);
  const avifImage& image = *decoder->image;
  check_size(image.width, image.height, 8, where, limits);
  const int width = static_cast<int>(image.width), height = static_cast<int>(image.height);
  const bool alpha = decoder->alphaPresent != 0;
  std::vector<std::uint8_t> pixels = avif_pixels(image, alpha, where);
  const int orientation = avif_orientation(image);
  const auto* notes = reinterpret_cast<const std::byte*>(image.exif.data);
  std::vector<std::byte> exif(notes, notes + image.exif.size);
  if (!alpha) return {{width, height, std::move(pixels)}, orientation, std::move(exif)};
  return {from_rgba(pixels.data(), std::size_t{4} * image.width, width, height), orientation,
          std::move(exif)};
}

}  // namespace blip2

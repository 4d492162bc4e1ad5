#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace blip2 {

// An 8-bit RGB picture: interleaved, row-major, 3 bytes a pixel. A plain value; several threads may
// call the functions of this header at once.
struct Image {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb;

  bool operator==(const Image&) const = default;
};

// Limits on one picture, checked from its header before anything is allocated.
struct ImageLimits {
  std::int64_t max_pixels = 2 * 89'478'485;  // Pillow refuses larger ones as bombs
  std::uint64_t max_bytes = 1u << 30;        // bytes of the file, and of each decoding buffer
};

// How 16-bit grey becomes 8-bit. cut: values above 255 become 255, as with Pillow's convert; that
// is mostly white, and one warning says so. scale: the upper byte is taken, as for 16-bit colours.
enum class SixteenBit { cut, scale };

// Decodes a file of one of picture_kinds(), recognised by its content. The pixels equal those of
// Pillow 13's ImageOps.exif_transpose(Image.open(file)).convert("RGB"): the EXIF (or XMP)
// orientation is applied, a file of several pictures gives its first, 16-bit colours are cut to
// their upper byte, and a JPEG's CMYK is read as Adobe's inverted CMYK. Alpha is composed over
// white, as transformers' image processors do it with a PIL image. Of AVIF and HEIC docs/data.md
// says what equals. Throws Error naming `where` if the picture is damaged, cut short, of another
// format or beyond `limits`. Unlike Pillow it refuses pictures with damaged pixel data.
Image decode_image(std::span<const std::byte> bytes, const std::string& where,
                   SixteenBit sixteen_bit = SixteenBit::cut, const ImageLimits& limits = {});

// Decodes the content of a file, or of a member of a tar shard (TarPlace, in text form), by
// decode_image.
Image load_image(const std::filesystem::path& path, SixteenBit sixteen_bit = SixteenBit::cut,
                 const ImageLimits& limits = {});

// The bytes of a PNG file of the picture (8-bit RGB). Throws Error if the picture is empty.
std::string encode_png(const Image& image);

}  // namespace blip2

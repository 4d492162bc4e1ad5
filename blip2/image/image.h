#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace blip2 {

// An 8-bit RGB picture: interleaved, row-major, 3 bytes a pixel.
struct Image {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb;

  bool operator==(const Image&) const = default;
};

// What one picture may cost, checked from its header before anything is allocated.
struct ImageLimits {
  std::int64_t max_pixels = 2 * 89'478'485;  // where Pillow takes it for a decompression bomb
  std::uint64_t max_bytes = 1u << 30;        // its file, and each buffer that decoding it takes
};

// What becomes of 16-bit grey. cut: values above 255 become 255, as Pillow's convert has it; white,
// mostly, of which a warning tells once. scale: the upper byte, as of 16-bit colours.
enum class SixteenBit { cut, scale };

// Decodes a JPEG, PNG or WebP file, told by its content. The pixels equal those of Pillow 13's
// ImageOps.exif_transpose(Image.open(file)).convert("RGB"): EXIF (or XMP) orientation applied, the
// first picture of an animation, 16-bit colours cut to their upper byte, CMYK taken as Adobe's
// inverted. Alpha is composed over white, as transformers' image processors do it with a PIL image.
// Throws Error naming `where` if the picture is damaged, cut short, of another kind or beyond
// `limits`. Unlike Pillow it refuses pictures with damaged pixel data.
Image decode_image(std::span<const std::byte> bytes, const std::string& where,
                   SixteenBit sixteen_bit = SixteenBit::cut, const ImageLimits& limits = {});

// decode_image of a file's content, or of a member of a tar shard (TarPlace, in text form).
Image load_image(const std::filesystem::path& path, SixteenBit sixteen_bit = SixteenBit::cut,
                 const ImageLimits& limits = {});

// A PNG file of the picture (8-bit RGB). Throws Error if the picture is empty.
std::string encode_png(const Image& image);

}  // namespace blip2

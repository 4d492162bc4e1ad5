#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/image/image.h"

// The decoders behind decode_image. Each takes a file that starts with the magic bytes of its
// format.
namespace blip2 {

struct Decoded {
  Image image;                       // as stored
  int orientation = 1;               // EXIF's, 1 to 8
  std::vector<std::byte> exif = {};  // the block that Pillow takes; empty if there is none
};

Decoded decode_jpeg(std::span<const std::byte> bytes, const std::string& where,
                    const ImageLimits& limits);
Decoded decode_png(std::span<const std::byte> bytes, const std::string& where,
                   SixteenBit sixteen_bit, const ImageLimits& limits);
Decoded decode_webp(std::span<const std::byte> bytes, const std::string& where,
                    const ImageLimits& limits);
Decoded decode_gif(std::span<const std::byte> bytes, const std::string& where,
                   const ImageLimits& limits);
Decoded decode_bmp(std::span<const std::byte> bytes, const std::string& where,
                   const ImageLimits& limits);
Decoded decode_tiff(std::span<const std::byte> bytes, const std::string& where,
                    SixteenBit sixteen_bit, const ImageLimits& limits);
Decoded decode_avif(std::span<const std::byte> bytes, const std::string& where,
                    const ImageLimits& limits);
Decoded decode_heic(std::span<const std::byte> bytes, const std::string& where,
                    const ImageLimits& limits);

// Decodes a file of any of the formats, within the limits.
Decoded decode_stored(std::span<const std::byte> bytes, const std::string& where,
                      SixteenBit sixteen_bit, const ImageLimits& limits);

// Throws Error if a picture of this size is empty or beyond the limits; `bytes_per_pixel`: of the
// largest buffer that decoding takes.
void check_size(std::int64_t width, std::int64_t height, int bytes_per_pixel,
                const std::string& where, const ImageLimits& limits);

// A picture of that size whose pixels are all zero.
Image blank_image(int width, int height);

using Colour = std::array<std::uint8_t, 3>;
// The colour of each index.
using Palette = std::array<Colour, 256>;

// Gives each pixel the colour of its index; as many indices as the picture has pixels.
void from_palette(std::span<const std::uint8_t> indices, const Palette& palette, Image& image);

// The picture of pixels of 4 bytes, whose rows are `stride` bytes apart: red, green, blue and
// alpha, which is composed over white.
Image from_rgba(const std::uint8_t* rgba, std::size_t stride, int width, int height);

// Says once that 16-bit grey becomes white (SixteenBit::cut).
void warn_of_cut(const std::string& where);

// a * b / 255, rounded.
constexpr std::uint8_t product(unsigned a, unsigned b) {
  const unsigned sum = a * b + 128;
  return static_cast<std::uint8_t>(((sum >> 8) + sum) >> 8);
}

// `value` with opacity `alpha` over white: Pillow's Image.alpha_composite, bit for bit.
constexpr std::uint8_t over_white(std::uint32_t value, std::uint32_t alpha) {
  if (alpha == 0) return 255;
  const std::uint32_t sum = (value * alpha + 255 * (255 - alpha) + 0x80) * 128;
  return static_cast<std::uint8_t>(((sum >> 8) + sum) >> 15);
}

}  // namespace blip2

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "blip2/image/codecs_internal.h"
#include "blip2/image/image.h"

namespace blip2 {

// How a TIFF's pixels are stored; numbers as in its tags.
struct TiffLayout {
  std::int64_t width = 0, height = 0;
  int samples = 1, bits = 1, sample_format = 1, compression = 1, photometric = 0;
  bool separate = false;             // each sample has planes of its own
  std::vector<std::uint16_t> extra;  // what the samples beyond the colour are

  int sample_bytes() const { return bits <= 8 ? 1 : bits / 8; }
  // Samples that are read of separate planes: extra ones that mean nothing are left out.
  int colours() const;
};

using TiffPalette = Palette;

// What of the layout is not read, for a message; empty if it is read: of Pillow 13's modes all but
// 12 bits, CIE Lab and samples of 8 bits with a sign.
std::string unknown_tiff_colours(const TiffLayout& layout);

// The picture of samples [height, width, samples], each of sample_bytes() in the machine's order,
// those of less than 8 bits in a byte of their own.
Image tiff_to_rgb(std::vector<std::uint8_t> samples, const TiffLayout& layout,
                  const TiffPalette& palette, SixteenBit sixteen_bit, const std::string& where);

// Whether the first directory of a TIFF file names the tag.
bool has_tiff_tag(std::span<const std::byte> file, std::uint16_t tag);

}  // namespace blip2

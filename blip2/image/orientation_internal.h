#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "blip2/image/image.h"

namespace blip2 {

// The Orientation (0x0112) of an EXIF block, with or without its "Exif\0\0" prefix, as Pillow 13
// reads it: the first value of the first entry that can be read, a number of any type. nullopt if
// the block has no such entry or is cut short before it, so that XMP decides; 0 if the entry is not
// a number or the block is not a TIFF structure.
std::optional<int> exif_orientation(std::span<const std::byte> exif);

// The tiff:Orientation of an XMP packet; 0 if the packet has none.
int xmp_orientation(std::string_view xmp);

// The picture turned and mirrored upright, as by PIL.ImageOps.exif_transpose. Values other than 2
// to 8 leave the picture as it is.
Image upright(Image image, int orientation);

}  // namespace blip2

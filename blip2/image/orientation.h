#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "blip2/image/image.h"

namespace blip2 {

// The Orientation tag (0x0112) of an EXIF block, with or without its "Exif\0\0" prefix; 0 if there
// is none or the block is damaged.
int exif_orientation(std::span<const std::byte> exif);

// The tiff:Orientation of an XMP packet; 0 if there is none.
int xmp_orientation(std::string_view xmp);

// The picture turned and mirrored upright: PIL.ImageOps.exif_transpose. Other values than 2 to 8
// leave it as it is.
Image upright(Image image, int orientation);

}  // namespace blip2

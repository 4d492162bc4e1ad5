#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "blip2/io/picture_format.h"
#include "blip2/protocols/limits.h"

namespace blip2 {

struct PictureHeader {
  PictureFormat format = PictureFormat::jpeg;
  std::int64_t width = 0, height = 0;  // as stored, before EXIF's orientation
};

// Reads format and size from the first bytes of the file, without decoding. RequestError (400) that
// names `param`, the format (also of files that are not read: SVG, PDF, JPEG XL, …)
// and the limit if the picture is of another format, damaged in its header, or beyond the rules. At
// most linear in the file's length; pure.
PictureHeader check_picture(std::string_view bytes, const PictureRules& rules,
                            const std::string& param);

}  // namespace blip2

#pragma once

#include <cstdint>
#include <string_view>

#include "blip2/io/picture_format.h"

namespace blip2 {

struct PictureSize {
  std::int64_t width = 0, height = 0;  // each below 2^32; 0: damaged, or cut short in its header
};

// The size that the file's header gives, without decoding. Pure; at most linear in its length.
PictureSize picture_size(std::string_view bytes, PictureFormat format);

}  // namespace blip2

#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "blip2/image/image.h"

namespace blip2 {

// Throws Error if what a HEIC file's HEVC streams announce is beyond the limits. libheif 1.15 and
// libde265 compare neither with anything: a file of 458 bytes took 12 GB and more than a minute.
// Linear.
void check_heic_streams(std::span<const std::byte> bytes, const std::string& where,
                        const ImageLimits& limits);

}  // namespace blip2

#pragma once

#include <string>
#include <string_view>

#include "blip2/image/image.h"

namespace blip2 {

// What a picture looks like from far: the mean colours of its 8 x 8 cells, row by row, 3 bytes
// each. They hardly change when a picture is scaled or compressed. Pure, as is look_distance().
std::string look_of(const Image& image);

// The largest difference of a colour between two looks, 0 to 255; 255 if one of them is none.
int look_distance(std::string_view a, std::string_view b);

}  // namespace blip2

#pragma once

#include <string>
#include <string_view>

#include "blip2/image/image.h"

namespace blip2 {

// What a picture looks like from far: the mean colours of its 8 x 8 cells, row by row, 3 bytes
// each. They hardly change when a picture is scaled or compressed. Pure, as is same_look().
std::string look_of(const Image& image);

// Whether two looks may be those of one picture before and after it was scaled or compressed: no
// colour differs by more than 24 of 255. False if one of them is none.
bool same_look(std::string_view a, std::string_view b);

}  // namespace blip2

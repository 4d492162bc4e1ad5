#pragma once

#include <string_view>

namespace blip2 {

// What a file of none of picture_kinds() seems to be, with an article: "an SVG drawing", "a PDF
// document"; empty if nothing is known of it. For messages only. Pure; reads the first kilobyte.
std::string_view foreign_format(std::string_view bytes);

}  // namespace blip2

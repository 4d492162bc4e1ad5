#pragma once

#include <span>
#include <string>
#include <string_view>

namespace blip2 {

// The candidate with the smallest edit distance to `word` if that distance is small enough for a
// typo, otherwise "". For the hint "did you mean".
std::string nearest_match(std::string_view word, std::span<const std::string> candidates);

}  // namespace blip2

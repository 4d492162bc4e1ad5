#pragma once

#include <span>
#include <string>

namespace blip2 {

// Text in lower case (ASCII) with runs of white space as one space and none at the ends.
std::string fold_text(const std::string& text);

// Whether the answer equals one of the right ones after fold_text.
bool equals_any(const std::string& answer, std::span<const std::string> right);

}  // namespace blip2

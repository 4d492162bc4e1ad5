#pragma once

#include <span>
#include <string>

namespace blip2 {

// The text in lower case (ASCII) with each run of white space as one space and none at the ends.
// Several threads may call the functions of this header at once.
std::string fold_text(const std::string& text);

// Whether the answer equals one of the right answers after fold_text.
bool equals_any(const std::string& answer, std::span<const std::string> right);

}  // namespace blip2

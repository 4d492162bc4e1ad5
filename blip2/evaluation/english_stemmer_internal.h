#pragma once

#include <string>
#include <string_view>

namespace blip2 {

// The stem of an English word in lower case, as Snowball's English stemmer ("Porter2",
// snowballstem.org/algorithms/english/stemmer.html) had it until 2014: METEOR 1.5 has that version.
// Words of fewer than three UTF-16 code units stay as they are.
std::u16string english_stem(std::u16string_view word);

}  // namespace blip2

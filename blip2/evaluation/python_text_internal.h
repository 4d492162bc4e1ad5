#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

// Python's str methods that the reference scorers call, over UTF-8.

// str.split(): the words between runs of space.
std::vector<std::string_view> split_words(std::string_view text);
// str.rstrip() and str.strip().
std::string_view strip_right(std::string_view text);
std::string_view strip(std::string_view text);

}  // namespace blip2

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

// A word of a text, in lower case.
struct TextWord {
  std::string text;
  bool begins_phrase = false;  // a comma, bracket, slash or dash stands before it
};

// The words of a text in UTF-8, composed (NFC): runs of letters, digits and their marks. All else
// splits; the s behind an apostrophe ("dog's") is dropped.
std::vector<TextWord> words_of(std::string_view text);

}  // namespace blip2

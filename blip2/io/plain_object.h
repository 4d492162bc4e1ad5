#pragma once

#include <string_view>
#include <vector>

namespace blip2 {

// A member of a JSON object whose value is a text or a whole number, as it stands in the file.
struct PlainMember {
  std::string_view key, value;
  bool is_text;
};

// Reads the members of a JSON object of texts and whole numbers of up to 15 digits alone, in ASCII
// without escapes and without a key that comes twice, into `members`, which is emptied first. False
// for any other, well-formed or not: parse_json reads those. Many times as fast as that.
bool read_plain_object(std::string_view text, std::vector<PlainMember>& members);

}  // namespace blip2

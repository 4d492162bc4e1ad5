#pragma once

#include <string_view>
#include <vector>

namespace blip2 {

// A member of a JSON object whose value is a text or a whole number, as characters of the file.
struct PlainMember {
  std::string_view key, value;
  bool is_text;
};

// Reads a JSON object whose values are all texts or whole numbers of up to 15 digits, in ASCII
// without escapes and without repeated keys, into `members`, which is emptied first. Returns false
// for any other text, well-formed JSON or not; parse_json reads that. It is many times as fast as
// parse_json.
bool read_plain_object(std::string_view text, std::vector<PlainMember>& members);

}  // namespace blip2

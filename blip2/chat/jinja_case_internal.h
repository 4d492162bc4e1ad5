#pragma once

#include <string>

namespace blip2 {

// A character's upper and title case as Python has them, which may be several characters.
std::string upper_case(char32_t c);
std::string title_case(char32_t c);
bool is_upper_letter(char32_t c);
bool is_lower_letter(char32_t c);
// str.isprintable() of one character.
bool is_printable(char32_t c);

}  // namespace blip2

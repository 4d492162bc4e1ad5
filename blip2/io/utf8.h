#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace blip2 {

// Whether the bytes are well-formed UTF-8 (no overlong form, surrogate or value over U+10FFFF).
bool is_utf8(std::string_view text);

// `text` on one line: line breaks, tabs and other control characters as escapes ("\n", "\t",
// "\u0007"); everything else stays.
std::string one_line(std::string_view text);

// The text without the byte order mark of UTF-8 that may stand in front. Error naming `where` if
// there is a byte order mark of UTF-16 or UTF-32, which this library does not read.
std::string_view without_byte_order_mark(std::string_view text, const std::string& where);

// `text` for a message: at most `most` bytes of it, anything but printable ASCII replaced by '?'.
std::string printable(std::string_view text, std::size_t most = 80);

}  // namespace blip2

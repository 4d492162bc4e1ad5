#pragma once

#include <string>
#include <string_view>

namespace blip2 {

// RFC 4648, with padding. Reading throws Error naming `where` for anything else.
std::string from_base64(std::string_view text, const std::string& where);
std::string to_base64(std::string_view bytes);

}  // namespace blip2

#pragma once

#include <string>
#include <string_view>

namespace blip2 {

// Base64 of RFC 4648, with padding. from_base64 throws Error naming `where` for any other text.
std::string from_base64(std::string_view text, const std::string& where);
std::string to_base64(std::string_view bytes);

}  // namespace blip2

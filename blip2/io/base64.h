#pragma once

#include <string>
#include <string_view>

namespace blip2 {

// Base64 of RFC 4648 in the standard or the URL-safe alphabet, with or without padding, white space
// anywhere. Error naming the character and its position otherwise. Linear.
std::string decode_base64(std::string_view text);
// The standard alphabet, with padding.
std::string encode_base64(std::string_view bytes);

}  // namespace blip2

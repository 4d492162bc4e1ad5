#pragma once

#include <string>
#include <string_view>

#include "blip2/base/content_hash.h"

namespace blip2 {

// A content's hash as the 16 bytes that its hexadecimal form says, and back. Error if there are not
// 16 bytes.
std::string content_bytes(const ContentHash& content);
ContentHash content_of(std::string_view bytes);

}  // namespace blip2

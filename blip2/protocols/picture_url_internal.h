#pragma once

#include <string>
#include <string_view>

#include "blip2/protocols/completion.h"
#include "blip2/protocols/limits.h"

namespace blip2 {

// The picture that a data: URI or bare base64 holds, its header checked, or the https:// or file://
// URL if the rules allow it. RequestError (400) naming `path` otherwise.
PictureSource picture_source(std::string_view source, const PictureRules& rules,
                             const std::string& path);

// Whether the text begins with the scheme ("file:"), whatever the case of its letters.
bool has_scheme(std::string_view text, std::string_view scheme);

}  // namespace blip2

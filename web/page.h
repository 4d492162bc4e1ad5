#pragma once

#include <string_view>

namespace blip2 {

// The page of `blip2 serve`: one HTML document in UTF-8, which loads nothing. It is made of
// web/index.html, web/style.css and web/script/*.js when the program is built.
std::string_view page();

// The value of the Content-Security-Policy header for page(): its own script and style, by their
// SHA-256, and requests to its own server. Everything else is refused.
std::string_view page_policy();

}  // namespace blip2

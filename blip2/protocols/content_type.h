#pragma once

#include <string_view>

namespace blip2 {

// Whether a route insists on JSON by name. Ollama's routes do not: its clients send none, or curl's
// application/x-www-form-urlencoded.
enum class ContentTypeRule { json, any_text };

// RequestError (415) if the header Content-Type, empty if there is none, announces another kind of
// body: multipart/form-data, for example, or JSON in another charset than UTF-8. Pure.
void check_content_type(std::string_view content_type, ContentTypeRule rule);

}  // namespace blip2

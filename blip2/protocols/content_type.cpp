#include "blip2/protocols/content_type.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "blip2/io/utf8.h"
#include "blip2/protocols/request_error.h"

namespace blip2 {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\"";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// The charset among the parameters, in lower case; empty if there is none.
std::string_view charset_of(std::string_view parameters) {
  constexpr std::string_view kKey = "charset=";
  const std::size_t at = parameters.find(kKey);
  if (at == parameters.npos) return {};
  const std::string_view rest = parameters.substr(at + kKey.size());
  return trimmed(rest.substr(0, rest.find(';')));
}

bool is_json(std::string_view kind) {
  return kind == "application/json" ||
         (kind.starts_with("application/") && kind.ends_with("+json"));
}

}  // namespace

void check_content_type(std::string_view content_type, ContentTypeRule rule) {
  const std::string type = lower(content_type);
  const std::string_view whole = type;
  const std::size_t end = std::min(whole.find(';'), whole.size());
  const std::string_view kind = trimmed(whole.substr(0, end)),
                         charset = charset_of(whole.substr(end));
  const bool tolerated = rule == ContentTypeRule::any_text &&
                         (kind == "application/x-www-form-urlencoded" || kind == "text/plain");
  const bool fits = kind.empty() || is_json(kind) || tolerated;
  if (fits && (charset.empty() || charset == "utf-8" || charset == "utf8")) return;
  throw RequestError(
      415, "unsupported_media_type", "",
      fmt::format("expected a body of Content-Type application/json in UTF-8, got \"{}\"",
                  printable(content_type)));
}

}  // namespace blip2

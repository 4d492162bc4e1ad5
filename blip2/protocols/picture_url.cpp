#include "blip2/protocols/picture_url_internal.h"

#include <fmt/format.h>

#include <algorithm>

#include "blip2/base/error.h"
#include "blip2/io/base64.h"
#include "blip2/io/utf8.h"
#include "blip2/protocols/picture_header.h"
#include "blip2/protocols/request_json_internal.h"

namespace blip2 {
namespace {

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool equal_letters(char a, char b) {
  return a == b || (is_letter(a) && (a ^ 0x20) == b);
}

// "gopher" of "gopher://host"; empty if the text begins with no scheme.
std::string_view scheme_of(std::string_view text) {
  constexpr std::size_t kLongest = 32;
  const std::size_t colon = text.substr(0, kLongest).find(':');
  if (colon == text.npos || colon == 0 || !is_letter(text[0])) return {};
  const std::string_view scheme = text.substr(0, colon);
  const bool fits = std::all_of(scheme.begin(), scheme.end(), [](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
  });
  return fits ? scheme : std::string_view{};
}

// The base64 in a data: URI.
std::string_view payload_of(std::string_view uri, const std::string& path) {
  constexpr std::size_t kLongestHead = 256;
  constexpr std::string_view kEncoding = ";base64";
  const std::size_t comma = uri.substr(0, kLongestHead).find(',');
  if (comma == uri.npos) {
    refuse(path, "expected a data: URI as data:image/png;base64,…, got no comma",
           "invalid_image_url");
  }
  const std::string_view head = uri.substr(0, comma);
  const bool is_base64 =
      head.size() > kEncoding.size() &&
      std::equal(kEncoding.begin(), kEncoding.end(), head.end() - kEncoding.size(), equal_letters);
  if (!is_base64) {
    refuse(path,
           fmt::format("expected a data: URI in base64 (data:image/png;base64,…), got \"{}\"",
                       printable(head, 60)),
           "invalid_image_url");
  }
  return uri.substr(comma + 1);
}

PictureSource inline_picture(std::string_view base64, const PictureRules& rules,
                             const std::string& path) {
  PictureSource picture{{}, {}, path};
  try {
    picture.bytes = decode_base64(base64);
  } catch (const Error& error) {
    refuse(path, error.message(), "invalid_base64");
  }
  check_picture(picture.bytes, rules, path);
  return picture;
}

PictureSource linked_picture(std::string_view url, const std::string& path) {
  constexpr std::size_t kLongest = 8192;
  if (url.size() > kLongest) {
    refuse(path, fmt::format("expected a URL of at most {} bytes, got {}", kLongest, url.size()),
           "invalid_image_url");
  }
  const bool plain = std::none_of(url.begin(), url.end(), [](char c) {
    return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f;
  });
  if (!plain) {
    refuse(path, "the URL has white space or control characters", "invalid_image_url");
  }
  return {{}, std::string(url), path};
}

}  // namespace

bool has_scheme(std::string_view text, std::string_view scheme) {
  return text.size() >= scheme.size() &&
         std::equal(scheme.begin(), scheme.end(), text.begin(), equal_letters);
}

PictureSource picture_source(std::string_view source, const PictureRules& rules,
                             const std::string& path) {
  if (has_scheme(source, "data:")) return inline_picture(payload_of(source, path), rules, path);
  const std::string_view scheme = scheme_of(source);
  if (scheme.empty()) return inline_picture(source, rules, path);
  if (has_scheme(source, "https:") && !rules.hosts.empty()) return linked_picture(source, path);
  if (has_scheme(source, "file:") && !rules.media_root.empty()) return linked_picture(source, path);
  const char* reason = "expected a data: URI or base64";
  if (has_scheme(source, "https:")) reason = "this server fetches no pictures from other hosts";
  if (has_scheme(source, "file:")) reason = "this server reads no pictures from its own files";
  if (has_scheme(source, "http:")) reason = "this server fetches no pictures over plain http";
  refuse(
      path,
      fmt::format("{}, got a URL of {}:; send the picture itself as a data: URI", reason, scheme),
      "unsupported_image_url");
}

}  // namespace blip2

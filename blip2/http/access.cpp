#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/http/access_internal.h"
#include "blip2/http/request_rules_internal.h"

namespace blip2 {
namespace {

// The key behind "Bearer ", "" for any other kind of authorisation.
std::string_view bearer_key(std::string_view value) {
  constexpr std::string_view kScheme = "bearer ";
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  if (value.size() < kScheme.size()) return {};
  if (!std::equal(kScheme.begin(), kScheme.end(), value.begin(),
                  [&](char b, char a) { return same(a, b); })) {
    return {};
  }
  value.remove_prefix(std::min(value.find_first_not_of(' ', kScheme.size()), value.size()));
  return value;
}

bool is_origin(const std::string& text) {
  const std::size_t scheme = text.find("://");
  return scheme != std::string::npos && scheme > 0 && text.size() > scheme + 3 &&
         text.find('/', scheme + 3) == std::string::npos && is_visible_ascii(text);
}

}  // namespace

KeyRing::KeyRing(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    need(!key.empty() && is_visible_ascii(key),
         "a key must be printable characters of ASCII without spaces", "API keys");
    digests_.push_back(digest(key));
  }
}

KeyRing::Digest KeyRing::digest(std::string_view key) {
  Digest result;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), result.data());
  return result;
}

bool KeyRing::holds(std::string_view key) const {
  const Digest given = digest(key);
  bool found = false;
  for (const Digest& known : digests_) {
    found |= CRYPTO_memcmp(known.data(), given.data(), known.size()) == 0;
  }
  return found;
}

bool KeyRing::admits(const HttpRequest& request) const {
  if (digests_.empty()) return true;
  const bool by_bearer = holds(bearer_key(request.header("authorization")));
  const bool by_header = holds(request.header("x-api-key"));
  return by_bearer || by_header;
}

CorsRules::CorsRules(std::vector<std::string> origins) : origins_(std::move(origins)) {
  for (const std::string& origin : origins_) {
    if (origin == "*") every_ = true;
    need(origin == "*" || is_origin(origin), "expected \"*\" or scheme://host[:port]",
         "CORS origin " + origin);
  }
}

bool CorsRules::allows(const HttpRequest& request) const {
  const std::string& origin = request.header("origin");
  return !origin.empty() &&
         (every_ || std::find(origins_.begin(), origins_.end(), origin) != origins_.end());
}

HttpHeaders CorsRules::headers_for(const HttpRequest& request) const {
  if (origins_.empty()) return {};
  HttpHeaders headers = {{"Vary", "Origin"}};  // also where it is refused: a cache must tell apart
  if (!allows(request)) return headers;
  headers.emplace_back("Access-Control-Allow-Origin", every_ ? "*" : request.header("origin"));
  headers.emplace_back("Access-Control-Expose-Headers", "X-Request-Id, Retry-After");
  return headers;
}

bool CorsRules::is_preflight(const HttpRequest& request) const {
  return !origins_.empty() && request.method == "OPTIONS" && !request.header("origin").empty() &&
         !request.header("access-control-request-method").empty();
}

HttpHeaders CorsRules::preflight_headers(const HttpRequest& request) {
  HttpHeaders headers = {{"Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE, OPTIONS"},
                         {"Access-Control-Max-Age", "600"}};
  // "*" would not cover Authorization, so the page gets what it asks for.
  const std::string& asked = request.header("access-control-request-headers");
  if (!asked.empty()) headers.emplace_back("Access-Control-Allow-Headers", asked);
  return headers;
}

}  // namespace blip2

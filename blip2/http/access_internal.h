#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/http/server.h"

namespace blip2 {

// The keys of which a request must carry one. Only their SHA-256 digests are kept; comparing takes
// as long for a wrong key as for a right one. Const functions may run on several threads at once.
class KeyRing {
 public:
  // Error if a key is empty or has other characters than printable ones of ASCII without spaces.
  explicit KeyRing(const std::vector<std::string>& keys);
  // Whether the request's "Authorization: Bearer KEY" or "X-API-Key: KEY" is one of the keys, or
  // there are none.
  bool admits(const HttpRequest& request) const;

 private:
  using Digest = std::array<unsigned char, 32>;
  static Digest digest(std::string_view key);
  bool holds(std::string_view key) const;
  std::vector<Digest> digests_;
};

// Which pages of other origins may read answers (Fetch standard, "CORS protocol"). Const functions
// may run on several threads at once.
class CorsRules {
 public:
  // Error naming an origin that is neither "*" nor "scheme://host[:port]".
  explicit CorsRules(std::vector<std::string> origins);
  bool allows(const HttpRequest& request) const;
  // The headers that let the request's page read the answer, as far as it may.
  HttpHeaders headers_for(const HttpRequest& request) const;
  // Whether a browser asks if a page may send a request. It is answered here and needs no key.
  bool is_preflight(const HttpRequest& request) const;
  // Of the answer to a preflight that allows(), beside headers_for().
  static HttpHeaders preflight_headers(const HttpRequest& request);

 private:
  std::vector<std::string> origins_;
  bool every_ = false;
};

}  // namespace blip2

#include <algorithm>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>
#include <cctype>

#include "blip2/http/request_rules_internal.h"

namespace blip2 {
namespace {

namespace beast_http = boost::beast::http;
using beast_http::field;

std::string_view view(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

bool same_letters(std::string_view a, std::string_view b) {
  return boost::beast::iequals({a.data(), a.size()}, {b.data(), b.size()});
}

Refusal malformed(std::string message) {
  return {400, "malformed_request", std::move(message), {}};
}

// The target without scheme and host, if it has them (RFC 9112, 3.2.2).
std::string_view origin_form(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!same_letters(target.substr(0, scheme.size()), scheme)) continue;
    target.remove_prefix(scheme.size());
    const std::size_t end = target.find_first_of("/?");
    return end == std::string_view::npos || target[end] == '?' ? "/" : target.substr(end);
  }
  return target;
}

std::optional<Refusal> length_fault(const RequestHeader& header) {
  const std::size_t lengths = header.count(field::content_length);
  const std::size_t codings = header.count(field::transfer_encoding);
  const std::string_view length = view(header[field::content_length]);
  if (lengths > 1 || (lengths && codings)) {
    return malformed("the length of the body is given more than once");
  }
  if (lengths && !std::all_of(length.begin(), length.end(),
                              [](unsigned char c) { return std::isdigit(c) != 0; })) {
    return malformed("Content-Length is not one number");
  }
  if (codings == 0) return std::nullopt;
  if (codings > 1 || !same_letters(view(header[field::transfer_encoding]), "chunked")) {
    return malformed("Transfer-Encoding: only \"chunked\" is supported");
  }
  if (header.version() < 11) return malformed("Transfer-Encoding in HTTP/1.0");
  return std::nullopt;
}

std::optional<Refusal> target_fault(const RequestHeader& header) {
  const std::string_view target = origin_form(view(header.target()));
  if (target == "*" && header.method() == beast_http::verb::options) return std::nullopt;
  if (target.empty() || target[0] != '/' || !is_visible_ascii(target) ||
      target.find('#') != std::string_view::npos) {
    return malformed("the request's target is not a path");
  }
  return std::nullopt;
}

}  // namespace

bool is_visible_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

HttpRequest request_of(const RequestHeader& header) {
  HttpRequest request;
  request.method = std::string(view(header.method_string()));
  const std::string_view target = origin_form(view(header.target()));
  const std::size_t mark = target.find('?');
  request.path = std::string(target.substr(0, mark));
  if (mark != std::string_view::npos) request.query = std::string(target.substr(mark + 1));
  for (const auto& item : header) {
    std::string name(view(item.name_string()));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    request.headers.emplace_back(std::move(name), std::string(view(item.value())));
  }
  return request;
}

std::optional<Refusal> header_fault(const RequestHeader& header) {
  if (auto fault = length_fault(header)) return fault;
  if (auto fault = target_fault(header)) return fault;
  const std::size_t hosts = header.count(field::host);
  if (hosts > 1 || (hosts == 0 && header.version() == 11)) {
    return malformed("a request must have exactly one Host header");
  }
  if (header.count(field::expect) && !same_letters(view(header[field::expect]), "100-continue")) {
    return Refusal{417, "unknown_expectation", "Expect: only \"100-continue\" is supported", {}};
  }
  return std::nullopt;
}

Refusal parse_fault(boost::beast::error_code code) {
  using beast_http::error;
  if (code == error::header_limit) {
    return {431, "header_too_large", "the request's header is too large", {}};
  }
  if (code == error::body_limit) {
    return {413, "body_too_large", "the request's body is larger than the limit", {}};
  }
  return malformed("not a valid HTTP request: " + code.message());
}

bool is_sane_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && is_visible_ascii(id);
}

const std::string& HttpRequest::header(const std::string& name) const {
  static const std::string kNone;
  const auto at = std::find_if(headers.begin(), headers.end(),
                               [&](const auto& header) { return header.first == name; });
  return at == headers.end() ? kNone : at->second;
}

}  // namespace blip2

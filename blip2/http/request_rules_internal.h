#pragma once

#include <boost/beast/core/error.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "blip2/http/answer_head_internal.h"
#include "blip2/http/server.h"

namespace blip2 {

// A body that grows as its bytes arrive, whatever length the header announces.
struct GrowingBody {
  using value_type = std::string;
  static std::uint64_t size(const value_type& body) { return body.size(); }

  class reader {
   public:
    template <bool isRequest, class Fields>
    reader(boost::beast::http::header<isRequest, Fields>&, value_type& body) : body_(body) {}
    void init(const boost::optional<std::uint64_t>&, boost::beast::error_code& error) {
      error = {};
    }
    template <class Buffers>
    std::size_t put(const Buffers& buffers, boost::beast::error_code& error) {
      error = {};
      std::size_t size = 0;
      for (auto at = boost::asio::buffer_sequence_begin(buffers);
           at != boost::asio::buffer_sequence_end(buffers); ++at) {
        const boost::asio::const_buffer piece = *at;
        body_.append(static_cast<const char*>(piece.data()), piece.size());
        size += piece.size();
      }
      return size;
    }
    void finish(boost::beast::error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};

using RequestParser = boost::beast::http::request_parser<GrowingBody>;
using RequestHeader = boost::beast::http::request_header<>;

// The request that the header describes, without body, remote and id. Path and query are those of
// the target, "*" as it is, the absolute form without scheme and host.
HttpRequest request_of(const RequestHeader& header);

// Why the header cannot be served, if so: an ambiguous length of the body (requests smuggled past a
// proxy), a target that is no path, not exactly one Host in HTTP/1.1, an unknown expectation.
std::optional<Refusal> header_fault(const RequestHeader& header);

// What the parser found wrong.
Refusal parse_fault(boost::beast::error_code error);

// Whether all characters are printable ones of ASCII, without spaces.
bool is_visible_ascii(std::string_view text);

// Whether the client may name its request so.
bool is_sane_id(std::string_view id);

}  // namespace blip2

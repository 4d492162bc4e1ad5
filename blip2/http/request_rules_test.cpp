#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/buffer.hpp>

#include "blip2/http/request_rules_internal.h"

namespace blip2 {
namespace {

// The status with which the request is refused, 0 if it is taken.
int refused(const std::string& text) {
  RequestParser parser;
  boost::beast::error_code error;
  parser.put(boost::asio::buffer(text), error);
  if (error) return parse_fault(error).status;
  const auto fault = header_fault(parser.get());
  return fault ? fault->status : 0;
}

int refused_header(const std::string& header) {
  return refused("POST /a HTTP/1.1\r\n" + header + "\r\n");
}

TEST(RequestRules, TakesPlainRequests) {
  EXPECT_EQ(refused_header("Host: a\r\n"), 0);
  EXPECT_EQ(refused_header("Host: a\r\nContent-Length: 5\r\n"), 0);
  EXPECT_EQ(refused_header("Host: a\r\nTransfer-Encoding: Chunked\r\n"), 0);
  EXPECT_EQ(refused_header("Host: a\r\nExpect: 100-Continue\r\n"), 0);
  EXPECT_EQ(refused("GET / HTTP/1.0\r\n\r\n"), 0);
  EXPECT_EQ(refused("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
  EXPECT_EQ(refused("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
}

TEST(RequestRules, RefusesAnAmbiguousLength) {
  const std::string host = "Host: a\r\n";
  for (const char* header : {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                             "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                             "Content-Length: 5\r\nContent-Length: 6\r\n",
                             "Content-Length: 5\r\nContent-Length: 5\r\n",
                             "Content-Length: 5, 5\r\n",
                             "Content-Length: +5\r\n",
                             "Content-Length: -5\r\n",
                             "Content-Length: 5 6\r\n",
                             "Content-Length: 0x5\r\n",
                             "Content-Length: \r\n",
                             "Content-Length: 99999999999999999999999\r\n",
                             "Content-Length : 5\r\n",
                             "Transfer-Encoding: gzip\r\n",
                             "Transfer-Encoding: chunked, gzip\r\n",
                             "Transfer-Encoding: gzip, chunked\r\n",
                             "Transfer-Encoding: chunked, chunked\r\n",
                             "Transfer-Encoding: xchunked\r\n",
                             "Transfer-Encoding: \"chunked\"\r\n",
                             "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
                             "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
                             "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
                             "Transfer-Encoding:\vchunked\r\n",
                             "Transfer-Encoding:\r\n"}) {
    EXPECT_EQ(refused_header(host + header), 400) << header;
  }
  EXPECT_EQ(refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
}

TEST(RequestRules, RefusesWhatIsNoRequest) {
  for (const char* text :
       {"\r\n\r\n", "GET / HTTP/1.1\nHost: a\n\n", "GET  / HTTP/1.1\r\n\r\n", "GET / \r\n\r\n",
        "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET a HTTP/1.1\r\nHost: a\r\n\r\n", "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"}) {
    EXPECT_EQ(refused(text), 400) << text;
  }
  EXPECT_EQ(refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refused_header("Host: a\r\nExpect: 200-ok\r\n"), 417);
}

TEST(RequestRules, SplitsTheTarget) {
  const auto split = [](const std::string& target) {
    RequestHeader header;
    header.target(target);
    const HttpRequest request = request_of(header);
    return request.path + " " + request.query;
  };
  EXPECT_EQ(split("/a/b?c=d&e"), "/a/b c=d&e");
  EXPECT_EQ(split("http://host:1/a?b"), "/a b");
  EXPECT_EQ(split("HTTPS://host"), "/ ");
  EXPECT_EQ(split("*"), "* ");
}

TEST(RequestRules, KnowsSaneIds) {
  EXPECT_TRUE(is_sane_id("a-1_B."));
  EXPECT_TRUE(is_sane_id(std::string(128, 'a')));
  for (const std::string id : {"", "a b", "a\n", "\xc3\xa4"}) EXPECT_FALSE(is_sane_id(id)) << id;
  EXPECT_FALSE(is_sane_id(std::string(129, 'a')));
}

}  // namespace
}  // namespace blip2

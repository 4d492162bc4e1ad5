#include "blip2/http/access_internal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "blip2/base/message_of.h"
#include "blip2/http/answer_head_internal.h"

namespace blip2 {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;

HttpRequest with(HttpHeaders headers) {
  HttpRequest request;
  request.headers = std::move(headers);
  return request;
}

TEST(KeyRing, AdmitsEachOfItsKeysInEitherHeader) {
  const KeyRing keys({"first", "second"});
  EXPECT_TRUE(keys.admits(with({{"authorization", "Bearer first"}})));
  EXPECT_TRUE(keys.admits(with({{"authorization", "bEARER  second"}})));
  EXPECT_TRUE(keys.admits(with({{"x-api-key", "second"}})));
}

TEST(KeyRing, AdmitsNothingElse) {
  const KeyRing keys({"first"});
  for (const char* value : {"", "first", "Bearer", "Bearer ", "Bearer firs", "Bearer firstx",
                            "Bearer First", "Basic first", "Bearer first "}) {
    EXPECT_FALSE(keys.admits(with({{"authorization", value}}))) << value;
  }
  EXPECT_FALSE(keys.admits(with({{"x-api-key", ""}})));
  EXPECT_FALSE(keys.admits(with({})));
}

TEST(KeyRing, WithoutKeysAdmitsAll) {
  EXPECT_TRUE(KeyRing({}).admits(with({})));
}

TEST(KeyRing, RefusesKeysThatNoHeaderCanCarry) {
  for (const char* key : {"", "a b", "a\n", "\xc3\xa4"}) {
    EXPECT_THAT(message_of([&] { KeyRing({key}); }), HasSubstr("API keys")) << key;
  }
}

TEST(CorsRules, AllowsTheOriginsOfItsList) {
  const CorsRules rules({"https://a.example", "http://b.example:8080"});
  EXPECT_THAT(rules.headers_for(with({{"origin", "http://b.example:8080"}})),
              Contains(Pair("Access-Control-Allow-Origin", "http://b.example:8080")));
  for (const char* origin : {"http://a.example", "https://a.example.org", "null", ""}) {
    EXPECT_THAT(rules.headers_for(with({{"origin", origin}})),
                Not(Contains(Pair("Access-Control-Allow-Origin", testing::_))))
        << origin;
  }
  EXPECT_THAT(rules.headers_for(with({})), Contains(Pair("Vary", "Origin")));
}

TEST(CorsRules, StarAllowsEveryOrigin) {
  EXPECT_THAT(CorsRules({"*"}).headers_for(with({{"origin", "https://any.example"}})),
              Contains(Pair("Access-Control-Allow-Origin", "*")));
}

TEST(CorsRules, WithoutOriginsSaysNothing) {
  EXPECT_THAT(CorsRules({}).headers_for(with({{"origin", "https://a.example"}})), IsEmpty());
}

TEST(AnswerHead, HasNoLineBreakOfAHandler) {
  const std::string head = answer_head(200, "a\r\nEvil: 1", {{"X\r\nEvil", "b\nEvil: 2"}}, {});
  EXPECT_THAT(head, Not(HasSubstr("\nEvil")));
}

TEST(AnswerHead, SaysHowTheBodyEnds) {
  EXPECT_THAT(answer_head(200, "a", {}, {true, {}, true, 11}),
              HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(answer_head(200, "a", {}, {false, 7, true, 11}), HasSubstr("Content-Length: 7\r\n"));
  EXPECT_THAT(answer_head(204, "", {}, {false, 0, true, 11}), Not(HasSubstr("Content-Length")));
  EXPECT_THAT(answer_head(200, "a", {}, {false, 7, false, 11}), HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(answer_head(200, "a", {}, {false, 7, true, 10}),
              HasSubstr("Connection: keep-alive\r\n"));
  EXPECT_EQ(as_chunk("sixteen letters!"), "10\r\nsixteen letters!\r\n");
  EXPECT_EQ(as_chunk(""), "0\r\n\r\n");
}

TEST(ErrorBody, HasOpenAisForm) {
  EXPECT_EQ(error_body({400, "c", "a \"quoted\" \xff", {}}),
            "{\"error\":{\"message\":\"a \\\"quoted\\\" \xef\xbf\xbd\",\"type\":"
            "\"invalid_request_error\",\"code\":\"c\",\"param\":null}}");
  EXPECT_THAT(error_body({503, "c", "m", {}}), HasSubstr("\"type\":\"server_error\""));
}

}  // namespace
}  // namespace blip2

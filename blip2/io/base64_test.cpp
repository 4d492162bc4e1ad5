#include "blip2/io/base64.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "blip2/base/message_of.h"
#include "blip2/base/random.h"

namespace blip2 {
namespace {

using testing::HasSubstr;

std::string fault(const std::string& text) {
  return message_of([&] { decode_base64(text); });
}

TEST(Base64, ReadsAndWritesTheStandardsExamples) {
  const std::pair<const char*, const char*> cases[] = {
      {"", ""},
      {"f", "Zg=="},
      {"fo", "Zm8="},
      {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="},
      {"fooba", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy"}};  // RFC 4648, section 10
  for (const auto& [bytes, text] : cases) {
    EXPECT_EQ(encode_base64(bytes), text);
    EXPECT_EQ(decode_base64(text), bytes);
  }
}

TEST(Base64, TakesBothAlphabetsWithAndWithoutPaddingAndWhiteSpace) {
  const std::string bytes = "\xfb\xff\xbf\xfe";
  for (const char* text :
       {"+/+//g==", "-_-__g==", "+_-//g", "-_-__g", " +/+\r\n//g =\t=\n", "+/+//g\n"}) {
    EXPECT_EQ(decode_base64(text), bytes) << text;
  }
}

TEST(Base64, NamesTheCharacterAndItsPlace) {
  EXPECT_THAT(fault("Zm9v!mFy"), HasSubstr("got '!' at character 5"));
  EXPECT_THAT(fault("Zm9%2B"), HasSubstr("got '%' at character 4"));
  EXPECT_THAT(fault("Zm9v\xc3\xa9"), HasSubstr("got '?' at character 5"));
  EXPECT_THAT(fault(std::string("Zm9v\0aaa", 8)), HasSubstr("at character 5"));
  EXPECT_THAT(fault("Zg==Zg=="),
              HasSubstr("expected nothing after the padding, got 'Z' at character 5"));
  EXPECT_THAT(fault("Zm9v="), HasSubstr("expected no more padding, got '=' at character 5"));
  EXPECT_THAT(fault("Zg==="), HasSubstr("expected no more padding, got '=' at character 5"));
  EXPECT_THAT(fault("Zg="), HasSubstr("expected 2 characters of padding, got 1"));
  EXPECT_THAT(fault("Zm9vY"), HasSubstr("one letter is left"));
  EXPECT_THAT(fault("=="), HasSubstr("expected no more padding"));
}

TEST(Base64, ReadsBackWhatItWrites) {
  Random random(3);
  for (std::size_t size = 0; size < 200; ++size) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(random.below(256));
    EXPECT_EQ(decode_base64(encode_base64(bytes)), bytes);
  }
}

TEST(Base64, IsLinearHoweverTheTextIsBroken) {
  std::string spaced;
  for (int i = 0; i < 4'000'000; ++i) spaced += "A\n";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(decode_base64(spaced).size(), 3'000'000u);
  EXPECT_EQ(decode_base64(std::string(40'000'000, 'A')).size(), 30'000'000u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

}  // namespace
}  // namespace blip2

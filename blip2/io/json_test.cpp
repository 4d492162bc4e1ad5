#include "blip2/io/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "blip2/base/error.h"
#include "blip2/base/message_of.h"
#include "blip2/io/test_files.h"
#include "blip2/io/toml.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

// A text in UTF-16 as Windows writes it.
std::string utf16(const std::string& text) {
  std::string out = "\xFF\xFE";
  for (const char c : text) out += std::string{c, '\0'};
  return out;
}

TEST(PythonNumbers, AreNullWhereTheyAreTaken) {
  constexpr JsonLimits kLimits{.python_numbers = true};
  const std::string text =
      R"({"a": NaN, "b": [Infinity, -Infinity, 1e400, -1E+999, 1.5, -2e3], "NaN": "NaN, \"1e400",
          "c": )" +
      std::string(400, '9') + "}";
  const json got = parse_json(text, "x", kLimits);
  const json wanted = json::parse(
      R"({"a": null, "b": [null, null, null, null, 1.5, -2e3], "NaN": "NaN, \"1e400", "c": null})");
  EXPECT_EQ(got, wanted);
  EXPECT_THROW(parse_json(text, "x"), Error);
  for (const char* wrong : {"NaNN", "nan", "+Infinity", "1e400e", "[NaN", R"("NaN)", "NaN NaN"}) {
    EXPECT_THROW(parse_json(wrong, "x", kLimits), Error) << wrong;
  }
}

TEST(ByteOrderMarks, AreTakenOffOrNamed) {
  using namespace std::string_literals;
  EXPECT_EQ(without_byte_order_mark("\xEF\xBB\xBFtext", "x"), "text");
  EXPECT_EQ(without_byte_order_mark("text", "x"), "text");
  EXPECT_EQ(without_byte_order_mark("", "x"), "");
  EXPECT_THAT(message_of([] { without_byte_order_mark(utf16("text"), "x.txt"); }),
              HasSubstr("x.txt: expected UTF-8 text, got UTF-16; save it as UTF-8"));
  EXPECT_THAT(message_of([] { without_byte_order_mark("\xFE\xFF\0t"s, "x"); }),
              HasSubstr("UTF-16"));
  EXPECT_THAT(message_of([] { without_byte_order_mark("\xFF\xFE\0\0t\0\0\0"s, "x"); }),
              HasSubstr("UTF-32"));
  EXPECT_THAT(message_of([] { without_byte_order_mark("\0\0\xFE\xFF"s, "x"); }),
              HasSubstr("UTF-32"));
}

TEST(ByteOrderMarks, InFilesOfJsonAndToml) {
  const testing::TemporaryFolder folder;
  EXPECT_EQ(read_json(folder.write("a.json", "\xEF\xBB\xBF{\"a\": 1}")), json({{"a", 1}}));
  EXPECT_EQ(read_toml(folder.write("a.toml",
                                   "\xEF\xBB\xBF"
                                   "a = 1\n")),
            json({{"a", 1}}));
  const auto wide_json = folder.write("b.json", utf16("{}"));
  const auto wide_toml = folder.write("b.toml", utf16("a = 1"));
  EXPECT_THAT(message_of([&] { read_json(wide_json); }), HasSubstr("b.json: expected UTF-8"));
  EXPECT_THAT(message_of([&] { read_toml(wide_toml); }), HasSubstr("b.toml: expected UTF-8"));
}

}  // namespace
}  // namespace blip2

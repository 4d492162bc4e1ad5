#include "blip2/io/plain_object.h"

#include <gtest/gtest.h>

namespace blip2 {
namespace {

TEST(PlainObjectTest, TextsAndWholeNumbers) {
  std::vector<PlainMember> members;
  ASSERT_TRUE(read_plain_object("{\"image_id\" : 12,\n \"caption\":\"A dog.\",\"id\":0}", members));
  ASSERT_EQ(members.size(), 3u);
  EXPECT_EQ(members[0].key, "image_id");
  EXPECT_EQ(members[0].value, "12");
  EXPECT_FALSE(members[0].is_text);
  EXPECT_EQ(members[1].value, "A dog.");
  EXPECT_TRUE(members[1].is_text);
}

TEST(PlainObjectTest, EverythingElseIsLeftToTheParser) {
  std::vector<PlainMember> members;
  for (const char* text : {"",
                           "{",
                           "{}",
                           "[1]",
                           "{\"a\":}",
                           "{\"a\":1",
                           "{\"a\":1}x",
                           "{\"a\":1,}",
                           "{\"a\":-1}",
                           "{\"a\":1.0}",
                           "{\"a\":1e2}",
                           "{\"a\":01}",
                           "{\"a\":1234567890123456}",
                           "{\"a\":null}",
                           "{\"a\":[1]}",
                           "{\"a\":\"b\\n\"}",
                           "{\"a\":\"\xc3\xa9\"}",
                           "{\"a\":\"b}",
                           "{\"a\":\"x\ty\"}",
                           "{\"a\":\"x\n5}",
                           "{\"a\":1,\"a\":2}",
                           "{a:1}",
                           "{\"a\" 1}"}) {
    EXPECT_FALSE(read_plain_object(text, members)) << text;
  }
}

}  // namespace
}  // namespace blip2

#include "blip2/io/members.h"

#include <gtest/gtest.h>

#include "blip2/base/message_of.h"

namespace blip2 {
namespace {

using nlohmann::json;

const json kObject{{"flag", true}, {"number", 3},    {"large", 1LL << 32}, {"below", -1},
                   {"text", "a"},  {"list", {1, 2}}, {"none", nullptr},    {"inner", {{"x", 1}}}};

TEST(Members, AreThereOrNot) {
  EXPECT_EQ(*find_member(kObject, {"none", "absent", "text", "flag"}), "a");
  EXPECT_EQ(find_member(kObject, {"none", "absent"}), nullptr);
  EXPECT_EQ(find_member(json::array(), {"text"}), nullptr);
  EXPECT_TRUE(member_or(kObject, "flag", false, "f"));
  EXPECT_TRUE(member_or(kObject, "none", true, "f"));
  EXPECT_EQ(member_or<std::string>(kObject, "absent", "b", "f"), "b");
  EXPECT_EQ(count_member(kObject, "number", 7, "f"), 3);
  EXPECT_EQ(count_member(kObject, "absent", 7, "f"), 7);
  EXPECT_EQ(string_member(kObject, "text", "f"), "a");
  EXPECT_EQ(list_member(kObject, "list", "f").size(), 2u);
  EXPECT_EQ(object_member(kObject, "inner", "f").size(), 1u);
}

TEST(Members, OfAnotherTypeAreNamed) {
  const auto refused = [](auto read) { return message_of([&] { read("f.json"); }); };
  EXPECT_EQ(refused([](auto f) { member_or(kObject, "number", true, f); }),
            "f.json: number: expected true or false, got 3");
  EXPECT_EQ(refused([](auto f) { member_or(kObject, "large", std::int32_t{0}, f); }),
            "f.json: large: expected a whole number of 32 bits, got 4294967296");
  EXPECT_EQ(refused([](auto f) { count_member(kObject, "below", 0, f); }),
            "f.json: below: expected a whole number from 0, got -1");
  EXPECT_EQ(refused([](auto f) { string_member(kObject, "absent", f); }),
            "f.json: absent: expected a string, got nothing");
  EXPECT_EQ(refused([](auto f) { list_member(kObject, "none", f); }),
            "f.json: none: expected a list, got nothing");
  EXPECT_EQ(refused([](auto f) { object_member(kObject, "list", f); }),
            "f.json: list: expected an object, got [1,2]");
  EXPECT_EQ(refused([](auto f) { string_member(json(5), "text", f); }),
            "f.json: expected an object with \"text\", got 5");
}

TEST(Members, OfRecordsAreTextsAndWholeNumbers) {
  EXPECT_EQ(text_value("a ", "caption"), "a ");
  EXPECT_EQ(message_of([] { text_value(3, "caption"); }), "\"caption\": expected text, got 3");
  EXPECT_EQ(whole_number(12), "12");
  EXPECT_EQ(whole_number(12.0), "12");
  EXPECT_EQ(whole_number(12.5), "");
  EXPECT_EQ(whole_number(1e300), "");
  EXPECT_EQ(whole_number("12"), "");
}

}  // namespace
}  // namespace blip2

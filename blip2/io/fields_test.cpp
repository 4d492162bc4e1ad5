#include "blip2/io/fields.h"

#include <gtest/gtest.h>

namespace blip2 {
namespace {

struct Inner {
  double rate = 0.5;
  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("rate", self.rate, "a rate");
  }
};

struct Outer {
  std::int64_t steps = 3;
  std::string name = "x";
  std::vector<std::string> files;
  std::optional<bool> flag;
  Inner inner;
  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("steps", self.steps, "how many");
    visit("name", self.name, "its name");
    visit("files", self.files, "inputs");
    visit("flag", self.flag, "a flag");
    visit("inner", self.inner, "");
  }
};

std::string error_of(const char* text) {
  try {
    Outer outer;
    read_fields(outer, nlohmann::json::parse(text), "r.toml");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(FieldsTest, ReadsAndWritesBack) {
  Outer outer;
  const auto json = nlohmann::json::parse(
      R"({"steps": 7, "files": ["a", "b"], "flag": true, "inner": {"rate": 2}})");
  read_fields(outer, json, "r.toml");
  EXPECT_EQ(outer.steps, 7);
  EXPECT_EQ(outer.name, "x");
  EXPECT_EQ(outer.files, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(outer.inner.rate, 2.0);
  Outer again;
  read_fields(again, write_value(outer), "again");
  EXPECT_EQ(write_value(again), write_value(outer));
}

TEST(FieldsTest, OneValueIsAListOfOne) {
  Outer outer;
  read_fields(outer, nlohmann::json::parse(R"({"files": "a"})"), "r.toml");
  EXPECT_EQ(outer.files, std::vector<std::string>{"a"});
}

TEST(FieldsTest, RefusesUnknownKeysWithTheNearest) {
  EXPECT_EQ(error_of(R"({"step": 7})"), "r.toml: unknown key 'step'; did you mean 'steps'?");
  EXPECT_EQ(error_of(R"({"inner": {"rato": 7}})"),
            "r.toml: inner: unknown key 'rato'; did you mean 'rate'?");
}

TEST(FieldsTest, RefusesWrongTypes) {
  EXPECT_EQ(error_of(R"({"steps": 1.5})"), "r.toml: steps: expected a whole number, got 1.5");
  EXPECT_EQ(error_of(R"({"name": 3})"), "r.toml: name: expected a string, got 3");
  EXPECT_EQ(error_of(R"({"flag": 1})"), "r.toml: flag: expected true or false, got 1");
  EXPECT_EQ(error_of("[]"), "r.toml: expected a table of keys, got []");
}

TEST(FieldsTest, DescribesNestedKeys) {
  const auto lines = describe_fields(Outer{});
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_EQ(lines[4].key, "inner.rate");
  EXPECT_EQ(lines[4].default_value, "0.5");
}

}  // namespace
}  // namespace blip2

#include "blip2/io/json_elements.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// The elements' texts (with their keys), and the error at the end if there is one.
std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  try {
    JsonElements elements(text, "f.json", 100);
    while (const auto element = elements.next()) {
      EXPECT_EQ(text.substr(element->offset - 100, element->text.size()), element->text);
      const std::string key = elements.is_object() ? element->key + "=" : "";
      parts.push_back(key + std::string(element->text));
    }
  } catch (const Error& error) {
    parts.emplace_back(error.what());
  }
  return parts;
}

TEST(JsonElements, GivesElementsUnparsed) {
  EXPECT_THAT(split(R"([1,{"a":[2,"]"]},"x,\"}"])"),
              ElementsAre("1", R"({"a":[2,"]"]})", R"("x,\"}")"));
  EXPECT_THAT(split("\xEF\xBB\xBF { \"k\\u0065y\" : [ 1 ,2 ] , \"b\":null }"),
              ElementsAre("key=[ 1 ,2 ]", "b=null"));
  EXPECT_TRUE(split("[]").empty());
  EXPECT_TRUE(split(" {} rest").empty());
}

TEST(JsonElements, ABrokenElementCostsOnlyItself) {
  EXPECT_THAT(split(R"([{"a":1},{nonsense},{"b":2}])"),
              ElementsAre(R"({"a":1})", "{nonsense}", R"({"b":2})"));
}

TEST(JsonElements, SaysWhereItIsCutOff) {
  EXPECT_THAT(split(R"([{"a":1},{"b)"),
              ElementsAre(R"({"a":1})", HasSubstr("byte 112, the text ends there")));
  EXPECT_THAT(split("[1"), ElementsAre(HasSubstr("byte 102, the text ends there")));
  EXPECT_THAT(split("{\"a\" 1}"), ElementsAre(HasSubstr("expected ':' at byte 105")));
  EXPECT_THAT(split("text"), ElementsAre(HasSubstr("expected a JSON array or object")));
  EXPECT_THAT(split(""), ElementsAre(HasSubstr("f.json")));
  EXPECT_THAT(split("[1]]").size(), 1u);
  EXPECT_THAT(split("[" + std::string(100000, '[')), ElementsAre(HasSubstr("the end of a value")));
}

TEST(JsonElements, KeepsWhatWasBrokenOff) {
  JsonElements elements(R"({"a": 1, "list": [1, 2, 3)", "f");
  elements.next();
  EXPECT_THROW(elements.next(), Error);
  ASSERT_TRUE(elements.broken());
  EXPECT_EQ(elements.broken()->key, "list");
  EXPECT_EQ(elements.broken()->text, "[1, 2, 3");
}

}  // namespace
}  // namespace blip2

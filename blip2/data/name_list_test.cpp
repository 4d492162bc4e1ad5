#include "blip2/data/name_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/message_of.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class NameListTest : public ::testing::Test {
 protected:
  std::vector<std::string> read(const std::string& content) {
    write_file(path_, content);
    return read_names(path_);
  }
  std::string wrong(const std::string& content) {
    return message_of([&] { read(content); });
  }
  ~NameListTest() override { std::filesystem::remove(path_); }

  std::filesystem::path path_ = std::filesystem::path(::testing::TempDir()) /
                                ("blip2_names_" + std::to_string(::getpid()) + ".txt");
};

TEST_F(NameListTest, OneALine) {
  EXPECT_THAT(read("a cat\nzwölf Hunde \r\nc"), ElementsAre("a cat", "zwölf Hunde", "c"));
  EXPECT_THAT(read("\xEF\xBB\xBF"
                   "a\nb\n"),
              ElementsAre("a", "b"));
}

TEST_F(NameListTest, NamesTheLineThatIsWrong) {
  EXPECT_THAT(wrong(""), HasSubstr("empty file"));
  EXPECT_THAT(wrong("\xEF\xBB\xBF"), HasSubstr("empty file"));
  EXPECT_THAT(wrong("a\n \t\nb\n"),
              HasSubstr(path_.filename().string() + ":2: expected a name, got a blank"));
  EXPECT_THAT(wrong("a\nb\n\n"), HasSubstr(":3: "));
  EXPECT_THAT(wrong("a\nb\na \n"), HasSubstr(":3: 'a' is there twice, first in line 1"));
  EXPECT_THAT(wrong("\xFF\xFE"
                    "a"),
              HasSubstr("UTF-16"));
  EXPECT_THAT(wrong("a\n\xE9t\xE9\n"), HasSubstr("not UTF-8"));
}

TEST_F(NameListTest, AMissingFileIsNamed) {
  EXPECT_THAT(message_of([] { read_names("/no/names.txt"); }), HasSubstr("/no/names.txt"));
}

}  // namespace
}  // namespace blip2

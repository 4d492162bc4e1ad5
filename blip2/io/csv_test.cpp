#include "blip2/io/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "blip2/base/message_of.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Row = std::vector<std::string>;

std::vector<Row> rows_of(const std::string& text) {
  CsvRows rows(text);
  std::vector<Row> all;
  while (auto row = rows.next()) all.push_back(*row);
  return all;
}

TEST(CsvRows, ReadsCellsAndQuotes) {
  EXPECT_THAT(rows_of("a,b\n1,2"), ElementsAre(Row{"a", "b"}, Row{"1", "2"}));
  EXPECT_THAT(rows_of("a,,\r\n,b,\n"), ElementsAre(Row{"a", "", ""}, Row{"", "b", ""}));
  EXPECT_THAT(rows_of("\n\r\n,\na\n\n"), ElementsAre(Row{"a"}));
  EXPECT_THAT(rows_of("\"a, \"\"b\"\"\r\nc\",d\ne"),
              ElementsAre(Row{"a, \"b\"\r\nc", "d"}, Row{"e"}));
  EXPECT_THAT(rows_of("\"\",x\n\"\"\"\""), ElementsAre(Row{"", "x"}, Row{"\""}));
  EXPECT_THAT(rows_of("a \"b\",c\r"), ElementsAre(Row{"a \"b\"", "c"}));
  EXPECT_THAT(rows_of(""), ElementsAre());
}

TEST(CsvRows, CountsLines) {
  CsvRows rows("a\n\n\"b\n\nc\"\nd");
  std::vector<std::size_t> lines;
  while (rows.next()) lines.push_back(rows.line());
  EXPECT_THAT(lines, ElementsAre(1, 3, 6));
}

TEST(CsvRows, EndsAfterAFault) {
  for (const auto& [text, what] : std::vector<std::pair<std::string, std::string>>{
           {"a\nb,\"c\nd", "expected the quote that ends a cell"},
           {"a\n\"b\"c\nd", "expected a comma or the line's end"},
           {"a\n" + std::string(2 << 20, 'x') + "\nd", "at most 1 MiB"},
           {"a\n\"" + std::string(2 << 20, 'x') + "\"\nd", "at most 1 MiB"}}) {
    CsvRows rows(text);
    EXPECT_EQ(rows.next(), Row{"a"});
    EXPECT_THAT(message_of([&] { rows.next(); }), HasSubstr(what));
    EXPECT_EQ(rows.line(), 2u);
    EXPECT_FALSE(rows.next());
  }
}

}  // namespace
}  // namespace blip2

#include "blip2/io/utf8.h"

#include <gtest/gtest.h>

namespace blip2 {
namespace {

TEST(OneLine, EscapesWhatBreaksALine) {
  EXPECT_EQ(one_line("a\r\nb\tc"), "a\\r\\nb\\tc");
  EXPECT_EQ(one_line("\x07\x1e\x7f"), "\\u0007\\u001e\\u007f");
  EXPECT_EQ(one_line("a\xc2\x85"
                     "b\u2028c\u2029"),
            "a\\u0085b\\u2028c\\u2029");
  EXPECT_EQ(one_line("é 中 \\n \u2027"), "é 中 \\n \u2027") << "everything else stays";
  EXPECT_EQ(one_line("\xe2\x80"), "\xe2\x80") << "cut short";
  EXPECT_EQ(one_line(""), "");
}

}  // namespace
}  // namespace blip2

#include "blip2/text/split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace blip2 {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> parts(std::string_view text, SplitPattern pattern) {
  std::vector<std::string> out;
  while (!text.empty()) {
    out.emplace_back(text.substr(0, first_split(text, pattern)));
    text.remove_prefix(out.back().size());
  }
  return out;
}

TEST(Split, FollowsGpt2sPattern) {
  const auto words = [](std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
      out.emplace_back(text.substr(0, first_word(text)));
      text.remove_prefix(out.back().size());
    }
    return out;
  };
  EXPECT_THAT(words("I'll say  it's 42!\n"),
              ElementsAre("I", "'ll", " say", " ", " it", "'s", " 42", "!", "\n"));
  EXPECT_THAT(words("a \n\nb  "), ElementsAre("a", " \n", "\n", "b", "  "));
  EXPECT_THAT(words("x²  '"), ElementsAre("x", "²", " ", " '"));
}

TEST(Split, FollowsClipsPattern) {
  EXPECT_THAT(parts("it's 42!?  x\u00b2", SplitPattern::clip),
              ElementsAre("it", "'s", " ", "4", "2", "!?", "  ", "x", "\u00b2"));
  EXPECT_THAT(parts("<|endoftext|>!", SplitPattern::clip), ElementsAre("<|", "endoftext", "|>!"));
  EXPECT_THAT(parts("<|endoftext|>!", SplitPattern::clip_special),
              ElementsAre("<|endoftext|>", "!"));
  EXPECT_THAT(parts("!<|endoftext|>", SplitPattern::clip_special),
              ElementsAre("!<|", "endoftext", "|>"));
}

// Each part that the regular expressions of tiktoken and of Ministral 3 match.
TEST(Split, FollowsCasedPatterns) {
  const char text[] = "HTMLPage camelCase it's IT'S 12345 a/b //\n中文Ab .Xy";
  EXPECT_THAT(parts(text, SplitPattern::o200k),
              ElementsAre("HTMLPage", " camel", "Case", " it's", " IT'S", " ", "123", "45", " a",
                          "/b", " //\n", "中文Ab", " .", "Xy"));
  EXPECT_THAT(parts(text, SplitPattern::tekken),
              ElementsAre("HTMLPage", " camel", "Case", " it", "'s", " IT", "'S", " ", "1", "2",
                          "3", "4", "5", " a", "/b", " //\n", "中文Ab", " .", "Xy"));
}

TEST(Split, CutsDigitsOff) {
  EXPECT_EQ(first_digit_split("ab12", DigitSplit::single), 2u);
  EXPECT_EQ(first_digit_split("12ab", DigitSplit::single), 1u);
  EXPECT_EQ(first_digit_split("12ab", DigitSplit::runs), 2u);
  EXPECT_EQ(first_digit_split("12ab", DigitSplit::none), 4u);
}

}  // namespace
}  // namespace blip2

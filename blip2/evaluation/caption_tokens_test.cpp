#include "blip2/evaluation/caption_tokens.h"

#include <gtest/gtest.h>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

using Strings = std::vector<std::string>;
using Views = std::vector<std::string_view>;

std::string tokens(const std::string& caption) {
  return tokenise_captions(Views{caption})[0];
}

TEST(TokeniseCaptionsTest, DropsPunctuationAndSplitsClitics) {
  EXPECT_EQ(tokens("A dog's \"bone\", isn't it?"), "a dog 's bone is n't it");
  EXPECT_EQ(tokens("  T-shirt -- 'red' [new] "), "t-shirt red -lsb- new -rsb-");
  EXPECT_EQ(tokens("...!"), "");
  EXPECT_EQ(tokens("He cannot, gonna"), "he can not gon na");
}

TEST(TokeniseCaptionsTest, KeepsAbbreviationsNumbersAndAddressesWhole) {
  EXPECT_EQ(tokens("X at 8:30 a.m. in the U.S. Open"), "x at 8:30 a.m. in the u.s. open");
  EXPECT_EQ(tokens("Mr. Smith Jr. no. 5, 1 1/2 cups."), "mr. smith jr. no. 5 1\u00a01/2 cups");
  EXPECT_EQ(tokens("see www.a.org. ½ of £5"), "see www.a.org 1/2 of # 5");
}

TEST(TokeniseCaptionsTest, ALetterBeforeASentenceDependsOnTheNextCaption) {
  EXPECT_EQ(tokenise_captions(Views{"track B.", "A man"}), (Strings{"track b", "a man"}));
  EXPECT_EQ(tokenise_captions(Views{"track B.", "Two men"}), (Strings{"track b.", "two men"}));
}

TEST(TokeniseCaptionsTest, ALineBreakIsASpace) {
  EXPECT_EQ(tokenise_captions(Views{"a\r\nb\u2028c", "d\v", ""}), (Strings{"a b c", "d", ""}));
}

TEST(TokeniseCaptionsTest, DropsWhatTheReferenceCannotTokenise) {
  EXPECT_EQ(tokens("a \xf0\x9f\x98\x80 cat \xff"), "a cat");
}

TEST(TokeniseCaptionsTest, RefusesWhatWouldTakeForever) {
  EXPECT_NO_THROW(tokens(std::string(10'000, 'a')));
  EXPECT_THROW(tokens(std::string(10'001, 'a')), Error);
}

}  // namespace
}  // namespace blip2

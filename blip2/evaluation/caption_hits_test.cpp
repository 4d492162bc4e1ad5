#include "blip2/evaluation/caption_hits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "blip2/evaluation/lemmas.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;

TEST(WordsTest, LettersOfAnyScriptAndDigits) {
  EXPECT_THAT(lemmas_of("Two DOGS' balls, a dog’s T-shirt; №7 Äpfel/e\xCC\x81t\xC3\xA9!"),
              ElementsAre("two", "dog", "ball", "a", "dog", "t", "shirt", "7", "äpfel", "été"));
  EXPECT_THAT(lemmas_of("don't 's"), ElementsAre("don", "t"));
  EXPECT_THAT(lemmas_of("\xff ♥ …"), ElementsAre());
}

using Pairs = std::vector<std::pair<const char*, const char*>>;

TEST(LemmaTest, Plurals) {
  for (const auto& [form, lemma] : Pairs{{"boxes", "box"},
                                         {"cities", "city"},
                                         {"knives", "knife"},
                                         {"children", "child"},
                                         {"glasses", "glass"},
                                         {"glass", "glass"},
                                         {"bus", "bus"},
                                         {"buses", "bus"},
                                         {"women", "woman"},
                                         {"firemen", "fireman"},
                                         {"ramen", "ramen"},
                                         {"dishes", "dish"},
                                         {"watches", "watch"},
                                         {"houses", "house"},
                                         {"horses", "horse"},
                                         {"roses", "rose"},
                                         {"viruses", "virus"},
                                         {"octopuses", "octopus"},
                                         {"virus", "virus"},
                                         {"potatoes", "potato"},
                                         {"shoes", "shoe"},
                                         {"gloves", "glove"},
                                         {"leaves", "leaf"},
                                         {"pies", "pie"},
                                         {"cookies", "cookie"},
                                         {"prizes", "prize"},
                                         {"quizzes", "quiz"},
                                         {"tennis", "tennis"},
                                         {"cactus", "cactus"},
                                         {"cacti", "cactus"},
                                         {"mice", "mouse"},
                                         {"people", "person"},
                                         {"cafés", "café"},
                                         {"keys", "key"},
                                         {"scissors", "scissor"},
                                         {"princesses", "princess"},
                                         {"paintings", "painting"},
                                         {"his", "his"},
                                         {"gas", "gas"}}) {
    EXPECT_EQ(lemma_of(form), lemma) << form;
  }
}

TEST(LemmaTest, Verbs) {
  for (const auto& [form, lemma] :
       Pairs{{"running", "run"},      {"sitting", "sit"},       {"making", "make"},
             {"hoping", "hope"},      {"hopping", "hop"},       {"rolling", "roll"},
             {"kissing", "kiss"},     {"dancing", "dance"},     {"waving", "wave"},
             {"closing", "close"},    {"nursing", "nurse"},     {"focusing", "focus"},
             {"judging", "judge"},    {"changing", "change"},   {"hanging", "hang"},
             {"juggling", "juggle"},  {"curling", "curl"},      {"decorated", "decorate"},
             {"floating", "float"},   {"opening", "open"},      {"eating", "eat"},
             {"playing", "play"},     {"flying", "fly"},        {"studying", "study"},
             {"studied", "study"},    {"tied", "tie"},          {"walked", "walk"},
             {"baked", "bake"},       {"stopped", "stop"},      {"using", "use"},
             {"going", "go"},         {"goes", "go"},           {"runs", "run"},
             {"ran", "run"},          {"adding", "add"},        {"controlled", "control"},
             {"imagined", "imagine"}, {"visited", "visit"},     {"typing", "type"},
             {"king", "king"},        {"string", "string"},     {"wing", "wing"},
             {"red", "red"},          {"sled", "sled"},         {"seed", "seed"},
             {"speed", "speed"},      {"building", "building"}, {"hundred", "hundred"}}) {
    EXPECT_EQ(lemma_of(form), lemma) << form;
  }
}

TEST(HeadNounTest, IsTheLastWordOfTheFirstPhrase) {
  for (const auto& [title, head] : Pairs{{"red sports cars", "car"},
                                         {"A glass of water", "glass"},
                                         {"boxes, two of them", "box"},
                                         {"tree (green)", "tree"},
                                         {"cat 02", "cat"},
                                         {"the letter B", "letter"},
                                         {"B", "b"},
                                         {"7", "7"},
                                         {"a dog sitting in the grass", "dog"},
                                         {"man running", "man"},
                                         {"girl eating an apple", "girl"},
                                         {"washing machine", "machine"},
                                         {"red washing machine", "machine"},
                                         {"oil painting", "painting"},
                                         {"in the park", "park"},
                                         {"salt & pepper", "salt"},
                                         {"wolf - howling", "wolf"},
                                         {"T-shirt", "shirt"},
                                         {"man's best friend", "friend"},
                                         {"the", "the"},
                                         {"of the", "the"},
                                         {"", ""},
                                         {"♥ !", ""}}) {
    EXPECT_EQ(head_noun(title), head) << title;
  }
}

TEST(HeadNounTest, WithoutGenericWords) {
  const std::vector<std::string> generic{"face", "flag", "person"};
  EXPECT_EQ(head_noun("dog faces", generic), "dog");
  EXPECT_EQ(head_noun("flag of France", generic), "france");
  EXPECT_EQ(head_noun("person: blond hair", generic), "hair");
  EXPECT_EQ(head_noun("dog, person, cat", generic), "dog");
  EXPECT_EQ(head_noun("people", generic), "");
  const std::vector<std::string> keywords{"faces", "poker face"};
  EXPECT_FALSE(is_hit("a face", "dog face", keywords, generic));
  EXPECT_TRUE(is_hit("a face", "dog face", keywords));
  EXPECT_TRUE(is_hit("a poker face", "dog face", keywords, generic));
  EXPECT_TRUE(is_hit("dogs", "dog face", keywords, generic));
}

TEST(HitTest, HeadNounOrKeyword) {
  const std::vector<std::string> keywords{"pet", "hot dogs"};
  EXPECT_TRUE(is_hit("two Dogs run", "a dog on grass", {}));
  EXPECT_FALSE(is_hit("green grass", "a dog on grass", {}));
  EXPECT_TRUE(is_hit("somebody's PETS!", "a dog on grass", keywords));
  EXPECT_TRUE(is_hit("a hot dog", "sausage", keywords));
  EXPECT_FALSE(is_hit("a hot, large dog", "sausage", keywords));
  EXPECT_FALSE(is_hit("carpet", "sausage", keywords));
  EXPECT_FALSE(is_hit("", "", std::vector<std::string>{"♥"}));
}

TEST(WilsonIntervalTest, ByHand) {
  // 50 of 100: centre 0.5, half width 1.96 * sqrt(0.25 / 100 + 1.96^2 / 40000) / 1.0384146.
  EXPECT_NEAR(wilson_interval(50, 100).low, 0.403831530, 1e-8);
  EXPECT_NEAR(wilson_interval(50, 100).high, 0.596168470, 1e-8);
  // None of 10: the upper end is z^2 / (10 + z^2).
  EXPECT_EQ(wilson_interval(0, 10).low, 0.0);
  EXPECT_NEAR(wilson_interval(0, 10).high, 3.841458820694124 / 13.841458820694124, 1e-12);
  EXPECT_NEAR(wilson_interval(10, 10).high, 1.0, 1e-12);
  EXPECT_EQ(wilson_interval(0, 0).low, 0.0);
  EXPECT_EQ(wilson_interval(0, 0).high, 1.0);
}

}  // namespace
}  // namespace blip2

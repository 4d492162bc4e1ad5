#include "blip2/evaluation/meteor_internal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>

#include "blip2/base/error.h"
#include "blip2/evaluation/english_stemmer_internal.h"
#include "blip2/evaluation/meteor_synonyms_internal.h"
#include "blip2/evaluation/meteor_words_internal.h"

namespace blip2 {
namespace {

using testing::ElementsAre;
using Ids = std::vector<std::uint32_t>;

std::vector<std::string> words_of_line(const char* text) {
  return MeteorTokeniser("# comment\nMr\nno #NUMERIC_ONLY#\n").words(text);
}

TEST(MeteorTest, TokensByHand) {
  EXPECT_THAT(words_of_line("a red  dog"), ElementsAre("a", "red", "dog"));
  EXPECT_THAT(words_of_line("well-known, 1,000 u.s. dogs."),
              ElementsAre("well", "known", ",", "1,000", "us", "dogs", "."));
  EXPECT_THAT(words_of_line("the man's 'hat'"), ElementsAre("the", "man", "'s", "'", "hat", "'"));
  EXPECT_THAT(words_of_line("Mr. X no. 5 no. X etc. and...x"),
              ElementsAre("mr.", "x", "no.", "5", "no", ".", "x", "etc.", "and", "...", "x"));
}

TEST(MeteorTest, StemsByHand) {
  const std::pair<const char16_t*, const char16_t*> kStemsOf[] = {{u"running", u"run"},
                                                                  {u"hoping", u"hope"},
                                                                  {u"ties", u"tie"},
                                                                  {u"cries", u"cri"},
                                                                  {u"generously", u"generous"},
                                                                  {u"skies", u"sky"},
                                                                  {u"proceeding", u"proceed"},
                                                                  {u"relational", u"relat"},
                                                                  {u"by", u"by"},
                                                                  {u"'s", u"'s"}};
  for (const auto& [word, stem] : kStemsOf) EXPECT_EQ(english_stem(word), stem);
}

TEST(MeteorTest, SynonymsOfBaseForms) {
  const MeteorSynonyms synonyms("dog\n7 3\nhound\n3\nmouse\n5\n", "mouse\nmice\n");
  EXPECT_THAT(synonyms.of("dogs"), ElementsAre(3, 7));
  EXPECT_THAT(synonyms.of("hound"), ElementsAre(3));
  EXPECT_THAT(synonyms.of("mice"), ElementsAre(5));
  EXPECT_TRUE(synonyms.of("cat").empty());
  EXPECT_THROW(MeteorSynonyms("dog\nx\n", "").of("dog"), Error);
}

// A table of one entry, "a b" for "c", of words numbered 0, 1 and 2.
class Paraphrases {
 public:
  explicit Paraphrases(const std::string& text = "0.5\na b\nc\n")
      : path_(testing::TempDir() + "paraphrases.gz") {
    const gzFile file = gzopen(path_.c_str(), "wb");
    gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
    gzclose(file);
  }
  MeteorParaphrases read() const { return {path_, {{"a", 0}, {"b", 1}, {"c", 2}}}; }

 private:
  std::string path_;
};

TEST(MeteorTest, AlignsWordsAndPhrases) {
  const MeteorParaphrases paraphrases = Paraphrases().read();
  EXPECT_EQ(paraphrases.size(), 1u);
  const std::vector<MeteorWord> words{{0, 0, false, {}}, {1, 1, false, {}}, {2, 2, true, {}}};
  const MeteorCounts same = align_meteor(Ids{0, 1}, Ids{0, 1}, words, paraphrases);
  EXPECT_EQ(same.stages[0].candidate, 2);
  EXPECT_EQ(same.chunks, 1);
  const MeteorCounts phrase = align_meteor(Ids{0, 1}, Ids{2}, words, paraphrases);
  EXPECT_EQ(phrase.stages[3].candidate, 2);
  EXPECT_EQ(phrase.stages[3].reference_function, 1);
  EXPECT_EQ(phrase.chunks, 1);
  const MeteorCounts turned = align_meteor(Ids{0, 1}, Ids{1, 0}, words, paraphrases);
  EXPECT_EQ(turned.chunks, 2);
}

TEST(MeteorTest, ScoreByHand) {
  MeteorCounts counts{.candidate = 4, .reference = 2};
  counts.stages[0] = {.candidate = 2, .reference = 2};
  counts.chunks = 2;
  // Precision 1/2, recall 1; two chunks for two matches.
  EXPECT_NEAR(meteor_of(counts), 1 / (0.15 / 0.5 + 0.85) * 0.4, 1e-12);
  EXPECT_EQ(meteor_of({.candidate = 3, .reference = 3}), 0);
}

TEST(MeteorTest, RefusesBrokenTables) {
  EXPECT_THROW(Paraphrases("0.5\na b\n").read(), Error);
  EXPECT_THROW(Paraphrases("").read(), Error);
  EXPECT_THROW(MeteorParaphrases("/no/such/file.gz", {}), Error);
}

}  // namespace
}  // namespace blip2

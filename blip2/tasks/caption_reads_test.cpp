#include "blip2/tasks/caption_reads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "blip2/base/random.h"
#include "blip2/objectives/stage1.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;

// Words and pieces "##x" of words, without files: the Q-Former's side of the tests.
class Words : public Tokenizer {
 public:
  explicit Words(std::vector<std::string> words) : words_(std::move(words)) {}

  std::vector<std::int32_t> encode(std::string_view, bool, PlainText) const override { return {}; }
  std::string decode(std::span<const std::int32_t> ids, bool) const override {
    std::string text;
    for (const std::int32_t id : ids) {
      const std::string& word = words_.at(static_cast<std::size_t>(id));
      if (word.starts_with("[")) continue;
      const bool joins = word.starts_with("##") && !text.empty();
      text += joins ? word.substr(2) : (text.empty() ? "" : " ") + word;
    }
    return text;
  }
  std::string piece(std::int32_t id) const override {
    return words_.at(static_cast<std::size_t>(id));
  }
  std::optional<std::int32_t> id(std::string_view) const override { return std::nullopt; }
  std::int32_t size() const override { return static_cast<std::int32_t>(words_.size()); }
  SpecialTokens special() const override {
    SpecialTokens special;
    special.cls = 0, special.sep = 1, special.mask = 2;
    return special;
  }
  std::vector<std::int32_t> turn_tokens() const override { return {}; }
  std::int32_t add_token(std::string_view) override { return 0; }
  void save(const std::filesystem::path&) const override {}
  std::string bytes(std::int32_t) const override { return {}; }

 private:
  std::vector<std::string> words_;
};

// The language model's side: a token a letter; 0 stands for a hidden word.
class Letters : public Words {
 public:
  Letters() : Words({}) {}
  std::vector<std::int32_t> encode(std::string_view text, bool, PlainText) const override {
    return {text.begin(), text.end()};
  }
  SpecialTokens special() const override {
    SpecialTokens special;
    special.unk = 0;
    return special;
  }
};

std::string written(const TokenIds& tokens) {
  std::string text;
  for (const std::int64_t token : tokens) text += token == 0 ? '_' : static_cast<char>(token);
  return text;
}

class CaptionReadsTest : public ::testing::Test {
 protected:
  CaptionReadsTest() {
    setting_.recipe.mlm = setting_.recipe.mrm = 1;
    setting_.recipe.mlm_share = 0.4;
    setting_.recipe.mlm_ways = 3;
    setting_.vocabulary = words_.size();
    setting_.mask_token = 2;
    setting_.special = {0, 1, 2};
  }
  CaptionReads reads() {
    const TextReader read = [this](std::span<const TokenIds> texts) {
      std::vector<at::Tensor> rows;
      for (const TokenIds& text : texts) {
        read_.push_back(written(text));
        rows.push_back(at::tensor(text, at::kLong).to(at::kFloat).unsqueeze(1));
      }
      return at::cat(rows);
    };
    return {{std::make_shared<TextStates>(read, at::kFloat), DecoderConfig{}, letters_},
            words_,
            setting_,
            /*seed=*/7};
  }
  // Two captions, the second of which is read twice.
  CaptionBatch batch() const {
    const std::vector<std::vector<std::int32_t>> texts{
        {0, 3, 4, 5, 6, 1}, {0, 7, 8, 9, 10, 3, 1}, {0, 7, 8, 9, 10, 3, 1}};
    return {ragged_text(texts), at::tensor({0, 1, 2}, at::kLong), at::tensor({4, 9, 9}, at::kLong)};
  }
  std::vector<double> only(const std::string& name) const {
    std::vector<double> weights;
    for (const auto& objective : stage1_objectives()) {
      weights.push_back(objective.schedule.name == name ? 1 : 0);
    }
    return weights;
  }

  Words words_{{"[CLS]", "[SEP]", "[MASK]", "red", "tri", "##angle", "above", "a", "blue", "pent",
                "##agon", "green", "##s"}};
  Letters letters_;
  Stage1Setting setting_;
  std::vector<std::string> read_;
};

TEST_F(CaptionReadsTest, HiddenWordsLeaveTheOthersAsTheyAre) {
  const CaptionReads reads = this->reads();
  const auto text = [&](std::vector<std::int32_t> ids, std::vector<bool> hidden) {
    return written(reads.tokens_of(ids, hidden));
  };
  EXPECT_EQ(text({0, 3, 4, 5, 1}, {false, false, false, false, false}), "red triangle");
  EXPECT_EQ(text({0, 3, 4, 5, 1}, {false, true, false, false, false}), "_ triangle");
  EXPECT_EQ(text({0, 3, 4, 5, 1}, {false, false, true, false, false}), "red_angle");
  EXPECT_EQ(text({0, 3, 4, 5, 1}, {false, false, false, true, false}), "red tri_");
  EXPECT_EQ(text({0, 3, 4, 5, 1}, {false, true, true, true, false}), "___");
}

TEST_F(CaptionReadsTest, EachObjectiveReadsWhatItMay) {
  const CaptionReads reads = this->reads();
  for (const char* name : {"itc", "itm", "itg"}) {
    EXPECT_FALSE(reads.batch(batch(), 0, only(name)).has_value());
  }
  EXPECT_TRUE(read_.empty());
  const auto regions = reads.batch(batch(), 0, only("mrm"));
  EXPECT_THAT(read_,
              ElementsAre("red triangle above", "a blue pentagon red", "a blue pentagon red"));
  EXPECT_THAT(regions->plain.lengths, ElementsAre(18, 19, 19));
  EXPECT_TRUE(regions->masked.lengths.empty());
}

// No leak: whatever stands in the place of a word that is to be predicted, the language model reads
// the same; and it predicts just the words that the language model does not read.
TEST_F(CaptionReadsTest, TheLanguageModelIsNotGivenWhatIsPredicted) {
  const CaptionReads reads = this->reads();
  for (std::int64_t step = 0; step < 20; ++step) {
    read_.clear();
    const CaptionBatch captions = batch();
    const auto language = reads.batch(captions, step, only("mlm"));
    const auto given = read_;
    EXPECT_EQ(given[1], given[2]);
    const MaskedText masked = mask_text(captions.texts, setting_.masking(), language->seeds);
    std::int64_t hidden = 0;
    for (const std::string& text : given) hidden += std::ranges::count(text, '_');
    EXPECT_EQ(hidden, masked.targets.numel());
    for (std::int64_t i = 0; i < masked.places.numel(); ++i) {
      for (const std::int64_t word : {11, 12}) {  // another word, and a piece of one
        CaptionBatch other = batch();
        other.texts.ids[masked.places[i].item<std::int64_t>()] = word;
        read_.clear();
        const auto same = reads.batch(other, step, only("mlm"));
        EXPECT_EQ(read_, given);
        EXPECT_TRUE(at::equal(same->masked.rows, language->masked.rows));
        EXPECT_EQ(same->seeds, language->seeds);
      }
    }
  }
}

TEST_F(CaptionReadsTest, AStepDrawsOneOfTheWays) {
  const CaptionReads reads = this->reads();
  std::map<std::uint64_t, int> ways;
  for (std::int64_t step = 0; step < 300; ++step) {
    ++ways[reads.batch(batch(), step, only("mlm"))->seeds[0]];
  }
  ASSERT_EQ(ways.size(), 3u);
  for (const auto& [seed, count] : ways) EXPECT_NEAR(count, 100, 30);
  EXPECT_TRUE(ways.contains(reads.batch(batch(), std::nullopt, only("mlm"))->seeds[0]));
}

// A small model of stage 1 that reads states of 6 numbers.
struct ReadingStage1 {
  static QFormerConfig config() {
    QFormerConfig config;
    config.vocab_size = 20;
    config.hidden_size = 12;
    config.num_hidden_layers = 2;
    config.num_attention_heads = 2;
    config.intermediate_size = 16;
    config.max_position_embeddings = 8;
    config.encoder_hidden_size = 10;
    config.use_qformer_text_input = true;
    config.initializer_range = 0.3;
    config.encoder_reads = {kReadsImage, kReadsLanguage};
    config.language_hidden_size = 6;
    return config;
  }
  Stage1Step step(const std::vector<std::int64_t>& ids, const at::Tensor& states) const {
    const Stage1Parts parts{qformer, heads, tokens, Norm{at::ones({10}), at::zeros({10}), 1e-5},
                            Norm{at::ones({6}), at::zeros({6}), 1e-5}};
    Stage1Batch batch{features,
                      {at::tensor(ids, at::kLong), {4, 5}},
                      at::tensor({0, 1}),
                      at::tensor({0, 1}, at::kLong)};
    batch.negatives = Negatives{{1, 0}, {1, 0}};
    batch.language = Stage1Language{{states, {2, 3}}, {states, {2, 3}}, {5, 6}};
    return {parts,
            batch,
            {.compute = {},
             .passes = {.contrast = true, .pairs = true, .generation = true},
             .decoder_token = 19}};
  }
  QFormer qformer{config(), 1};
  Stage1Heads heads{config(), 8, 2};
  at::Tensor tokens = random_query_tokens(2, 12, 3);
  at::Tensor features = at::randn({2, 3, 10}, at::make_generator<at::CPUGeneratorImpl>(1));
};

// Contrast, matching and generation read pictures alone: no state of any text reaches them.
TEST(LanguageLeak, ContrastMatchingAndGenerationReadNoStates) {
  const ReadingStage1 model;
  const at::NoGradGuard no_grad;
  const std::vector<std::int64_t> ids{0, 3, 4, 1, 0, 5, 6, 7, 1};
  const Stage1Step one = model.step(ids, at::randn({5, 6})),
                   other = model.step(ids, at::randn({5, 6}));
  EXPECT_TRUE(at::equal(one.contrast().similarity, other.contrast().similarity));
  EXPECT_TRUE(at::equal(one.queries(), other.queries()));
  EXPECT_TRUE(at::equal(one.paired_queries(), other.paired_queries()));
  EXPECT_TRUE(at::equal(one.generated(), other.generated()));
}

// A word that generation predicts changes nothing of what it is predicted from, even if the
// language model had read it.
TEST(LanguageLeak, GenerationDoesNotSeeTheWordThatItPredicts) {
  const ReadingStage1 model;
  const at::NoGradGuard no_grad;
  const std::vector<std::int64_t> ids{0, 3, 4, 1, 0, 5, 6, 7, 1};
  const at::Tensor before = model.step(ids, at::randn({5, 6})).generated();  // [3 + 4, D]
  for (std::size_t word = 1; word < 3; ++word) {  // input `word` - 1 of the first text predicts it
    std::vector<std::int64_t> changed = ids;
    changed[word] = 11;
    const at::Tensor after = model.step(changed, at::randn({5, 6})).generated();
    const auto kept = static_cast<std::int64_t>(word);
    EXPECT_TRUE(at::equal(after.narrow(0, 0, kept), before.narrow(0, 0, kept)));
    EXPECT_FALSE(at::equal(after[kept], before[kept]));
    EXPECT_TRUE(at::equal(after.narrow(0, 3, 4), before.narrow(0, 3, 4)));
  }
}

// The states do reach what they are for.
TEST(LanguageLeak, MaskedObjectivesReadTheirStates) {
  const ReadingStage1 model;
  Stage1Setting setting;
  setting.vocabulary = 20;
  setting.mask_token = 2;
  setting.special = {0, 1, 2};
  const std::vector<std::int64_t> ids{0, 3, 4, 1, 0, 5, 6, 7, 1};
  const at::Tensor states = at::randn({5, 6});
  const auto loss_of = [&](const char* name, const at::Tensor& read) {
    for (const Stage1Objective& objective : stage1_objectives()) {
      if (objective.schedule.name == std::string(name)) {
        return objective.loss(model.step(ids, read), setting).loss;
      }
    }
    return at::Tensor();
  };
  for (const char* name : {"mlm", "mrm"}) {
    const at::Tensor loss = loss_of(name, states);
    EXPECT_EQ(loss.item<double>(), loss_of(name, states).item<double>());
    EXPECT_NE(loss.item<double>(), loss_of(name, -states).item<double>());
    loss.backward();
    const auto& cross = *model.qformer.layer(0).crossattention->attention;
    EXPECT_GT(cross.language_value->weight.grad().abs().max().item<float>(), 0) << name;
  }
}

}  // namespace
}  // namespace blip2

#include "blip2/data/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;

// Words in the order in which they are seen, from 10; lower case; [CLS] 1, [SEP] 2, [PAD] 0, and
// the special token <s> 5 where the text is not plain.
class WordTokenizer : public Tokenizer {
 public:
  std::vector<std::int32_t> encode(std::string_view text, bool add_special_tokens,
                                   PlainText plain) const override {
    std::vector<std::int32_t> ids;
    if (add_special_tokens) ids.push_back(1);
    std::istringstream words{std::string(text)};
    for (std::string word; words >> word;) {
      const auto place = words.eof() ? text.size() : static_cast<std::size_t>(words.tellg());
      if (word == "<s>" && !covers(plain, place - 1)) {
        ids.push_back(5);
        continue;
      }
      for (char& c : word) c = static_cast<char>(std::tolower(c));
      ids.push_back(static_cast<std::int32_t>(
          words_.try_emplace(word, 10 + static_cast<int>(words_.size())).first->second));
    }
    if (add_special_tokens) ids.push_back(2);
    return ids;
  }
  std::string decode(std::span<const std::int32_t>, bool) const override { return {}; }
  std::string piece(std::int32_t) const override { return {}; }
  std::string bytes(std::int32_t) const override { return {}; }
  std::optional<std::int32_t> id(std::string_view) const override { return {}; }
  std::int32_t size() const override { return 1000; }
  std::int32_t add_token(std::string_view) override { return 0; }
  void save(const std::filesystem::path&) const override {}
  std::vector<std::int32_t> turn_tokens() const override { return {}; }
  SpecialTokens special() const override {
    SpecialTokens tokens;
    tokens.pad = 0;
    tokens.sep = 2;
    return tokens;
  }

 private:
  static bool covers(PlainText plain, std::size_t place) {
    return std::ranges::any_of(
        plain, [&](const TextStretch& s) { return s.begin <= place && place < s.end; });
  }
  mutable std::map<std::string, int> words_;
};

std::vector<std::int64_t> values(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous();
  return {flat.const_data_ptr<std::int64_t>(), flat.const_data_ptr<std::int64_t>() + flat.numel()};
}

Record caption_record(const std::string& image, std::vector<std::string> captions) {
  Record record;
  record.image = record.image_id = image;
  record.captions = std::move(captions);
  return record;
}

Record question_record(const std::string& image, const std::string& question,
                       std::vector<std::string> answers) {
  Record record;
  record.image = record.image_id = image;
  record.question = question;
  record.answers = std::move(answers);
  return record;
}

TEST(CaptionDataTest, GivesRaggedTextsAndNumbers) {
  const WordTokenizer tokenizer;
  const std::vector<Record> records{caption_record("a", {"red cat"}), caption_record("b", {"dog"}),
                                    caption_record("a", {"Dog"}),
                                    caption_record("c", {"one two three four five six"})};
  const CaptionData data(records, tokenizer, 6);
  const CaptionBatch batch = data.batch(std::vector<std::int64_t>{0, 1, 2}, 1, 0);
  EXPECT_THAT(values(batch.texts.ids), ElementsAre(1, 10, 11, 2, 1, 12, 2, 1, 12, 2));
  EXPECT_THAT(batch.texts.lengths, ElementsAre(4, 3, 3));
  EXPECT_THAT(values(batch.image_ids), ElementsAre(0, 1, 0));
  EXPECT_THAT(values(batch.caption_ids), ElementsAre(0, 1, 1));  // "dog" and "Dog" are one
  const CaptionBatch cut = data.batch(std::vector<std::int64_t>{3}, 1, 0);
  EXPECT_THAT(values(cut.texts.ids), ElementsAre(1, 13, 14, 15, 16, 2));
}

TEST(CaptionDataTest, OneOfSeveralCaptionsByStep) {
  const WordTokenizer tokenizer;
  const std::vector<Record> records{caption_record("a", {"x", "y", "z"})};
  const CaptionData data(records, tokenizer);
  const std::vector<std::int64_t> item{0};
  std::set<std::int64_t> seen;
  for (std::int64_t step = 0; step < 50; ++step) {
    const auto drawn = values(data.batch(item, 1, step).caption_ids);
    EXPECT_EQ(drawn, values(data.batch(item, 1, step).caption_ids));
    seen.insert(drawn[0]);
  }
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_EQ(values(data.batch(item, 1, std::nullopt).caption_ids)[0], 0);
}

TEST(CaptionDataTest, RefusesQuestions) {
  const WordTokenizer tokenizer;
  const std::vector<Record> records{question_record("a", "q", {"b"})};
  EXPECT_THROW(CaptionData(records, tokenizer), Error);
}

PromptFormat format() {
  PromptFormat format;
  format.caption = "a photo of";
  format.question = "Question: {} Answer:";
  format.start = {3};
  format.end = {4};
  return format;
}

TEST(PromptDataTest, MixesCaptionsAndQuestions) {
  const WordTokenizer tokenizer;
  const std::vector<Record> records{caption_record("a", {"cat"}),
                                    question_record("b", "what is", {"red dog"})};
  const PromptData data(records, tokenizer, format());
  const PromptBatch batch = data.batch(std::vector<std::int64_t>{0, 1}, 1, 0);
  // a photo of = 10 11 12, cat = 13; question: what is answer: = 14 15 16 17, red dog = 18 19
  EXPECT_THAT(batch.prompts,
              ElementsAre(ElementsAre(3, 10, 11, 12), ElementsAre(3, 14, 15, 16, 17)));
  EXPECT_THAT(batch.targets, ElementsAre(ElementsAre(13, 4), ElementsAre(18, 19, 4)));
  EXPECT_THAT(batch.questions, ElementsAre(false, true));
  EXPECT_THAT(data.target_tokens(), ElementsAre(4, 13, 18, 19));
  EXPECT_THAT(data.target_tokens(2), ElementsAre(4, 11, 12, 13, 16, 17, 18, 19));
  EXPECT_FALSE(batch.instructions.has_value());
  EXPECT_THAT(prompt_ids(format(), tokenizer, "what is"), ElementsAre(3, 14, 15, 16, 17));
}

TEST(PromptDataTest, GivesThePromptToTheQFormer) {
  const WordTokenizer tokenizer, instructions;
  const std::vector<Record> records{question_record("b", "what is", {"red"}),
                                    question_record("b", "who", {"red"})};
  const PromptData data(records, tokenizer, format(), &instructions);
  const PromptBatch batch = data.batch(std::vector<std::int64_t>{0, 1}, 1, 0);
  // question: what is answer: = 10 11 12 13, question: who answer: = 10 14 13
  ASSERT_TRUE(batch.instructions.has_value());
  EXPECT_THAT(values(batch.instructions->ids), ElementsAre(1, 10, 11, 12, 13, 2, 1, 10, 14, 13, 2));
  EXPECT_THAT(batch.instructions->lengths, ElementsAre(6, 5));
}

TEST(PromptDataTest, CutsTargetsBeforeTheirEndAndPromptsAtTheirStart) {
  const WordTokenizer tokenizer;
  PromptFormat narrow = format();
  narrow.max_target_tokens = 3;
  narrow.max_prompt_tokens = 3;
  const std::vector<Record> records{caption_record("a", {"one two three"})};
  const PromptData data(records, tokenizer, narrow);
  const PromptBatch batch = data.batch(std::vector<std::int64_t>{0}, 1, 0);
  EXPECT_THAT(batch.prompts, ElementsAre(ElementsAre(3, 11, 12)));
  EXPECT_THAT(batch.targets, ElementsAre(ElementsAre(13, 14, 4)));
}

TEST(PromptDataTest, AnEmptyPromptHasNoSeparator) {
  const WordTokenizer tokenizer;
  PromptFormat bare;
  bare.caption = "";
  bare.end = {4};
  const std::vector<Record> records{caption_record("a", {"one"})};
  const PromptBatch batch =
      PromptData(records, tokenizer, bare).batch(std::vector<std::int64_t>{0}, 1, 0);
  EXPECT_THAT(batch.prompts, ElementsAre(ElementsAre()));
  EXPECT_THAT(batch.targets, ElementsAre(ElementsAre(10, 4)));
}

TEST(CaptionDataTest, CaptionsArePlainText) {
  const WordTokenizer tokenizer;
  const std::vector<Record> records{caption_record("a", {"cat <s>"})};
  const CaptionData data(records, tokenizer);
  const CaptionBatch batch = data.batch(std::vector<std::int64_t>{0}, 1, 0);
  EXPECT_THAT(values(batch.texts.ids), ElementsAre(1, 10, 11, 2));
}

TEST(PromptDataTest, SpecialTokensCountInTemplatesAlone) {
  const WordTokenizer tokenizer, instructions;
  PromptFormat chat = format();
  chat.question = "<s> {} <s>";
  chat.caption = "<s>";
  const std::vector<Record> records{question_record("a", "what <s>", {"<s> red"}),
                                    caption_record("b", {"<s> dog"})};
  const PromptData data(records, tokenizer, chat, &instructions);
  const PromptBatch batch = data.batch(std::vector<std::int64_t>{0, 1}, 1, 0);
  // what = 10, the plain <s> = 11, red = 12, dog = 13
  EXPECT_THAT(batch.prompts, ElementsAre(ElementsAre(3, 5, 10, 11, 5), ElementsAre(3, 5)));
  EXPECT_THAT(batch.targets, ElementsAre(ElementsAre(11, 12, 4), ElementsAre(11, 13, 4)));
  EXPECT_THAT(values(batch.instructions->ids), ElementsAre(1, 5, 10, 11, 5, 2, 1, 5, 2));
}

TEST(PromptDataTest, PutsPromptsIntoAChat) {
  const WordTokenizer tokenizer, instructions;
  PromptFormat chat = format();
  chat.chat = std::make_shared<ChatTemplate>(
      ChatTemplateSource{"<s> {{ messages[0].content }} reply:", "template", {}});
  const std::vector<Record> records{question_record("a", "what <s>", {"red"})};
  const PromptData data(records, tokenizer, chat, &instructions);
  const PromptBatch batch = data.batch(std::vector<std::int64_t>{0}, 1, 0);
  // question: what <s> answer: = 10 11 12 13, reply: = 14, red = 15; neither 3 nor a separator
  EXPECT_THAT(batch.prompts, ElementsAre(ElementsAre(5, 10, 11, 12, 13, 14)));
  EXPECT_THAT(batch.targets, ElementsAre(ElementsAre(15, 4)));
  EXPECT_THAT(values(batch.instructions->ids), ElementsAre(1, 10, 11, 12, 13, 2));
}

TEST(NumberPicturesTest, InTheOrderOfTheirFirstUse) {
  const std::vector<Record> records{caption_record("b", {"x"}), caption_record("a", {"y"}),
                                    caption_record("b", {"z"})};
  const RecordPictures pictures = number_pictures(records);
  EXPECT_THAT(pictures.names, ElementsAre("b", "a"));
  EXPECT_THAT(pictures.of_item, ElementsAre(0, 1, 0));
}

}  // namespace
}  // namespace blip2

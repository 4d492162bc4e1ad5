#include "blip2/answers/answer_scores.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace blip2 {
namespace {

TEST(AnswerScores, CaptionsByHand) {
  std::vector<Record> records(2);
  records[0].captions = {"red circle", "a red disc"};
  records[1].captions = {"blue square"};
  records[1].keywords = {"box"};
  std::vector<RecordAnswer> answers{{"a red disc"}, {"a big box"}};
  mark_hits(records, answers, {});
  EXPECT_FALSE(*answers[0].hit);  // the title's noun is "circle"
  EXPECT_TRUE(*answers[1].hit);
  const auto scores = score_captions(records, answers);
  EXPECT_EQ(scores["exact"], 0.5);
  EXPECT_EQ(scores["hits"], 0.5);
  EXPECT_EQ(scores["captions"], 2);
  EXPECT_GT(answers[0].score, answers[1].score);
  mark_hits(records, answers, {"boxes"});
  EXPECT_FALSE(*answers[1].hit);
}

TEST(AnswerScores, QuestionsByHand) {
  std::vector<Record> records(2);
  for (Record& record : records) record.question = "which colour?";
  records[0].answers = {"red"};
  records[1].answers = {"blue"};
  records[1].kinds = {{"answer_type", "other"}};
  std::vector<RecordAnswer> answers{{"red"}, {"green"}};
  const auto scores = score_questions(records, answers);
  EXPECT_EQ(scores["accuracy"], 0.5);
  EXPECT_EQ(scores["by_kind"]["answer_type"]["other"]["accuracy"], 0.0);
  EXPECT_EQ(answers[0].score, 1);
  EXPECT_EQ(answers[1].score, 0);
}

TEST(RecordAnswers, OfUnreadablePicturesLeaveTheFile) {
  RecordFile file{"data.jsonl", {}, {}};
  for (const char* image : {"a.png", "b.png", "c.png"}) {
    file.records.emplace_back().image = image;
  }
  const auto said = answer_records(file.records, 2, "caption", nullptr,
                                   [](std::span<const Record> records, const TakeAnswer& take) {
                                     for (const Record& record : records) {
                                       const bool bad = record.image == "b.png";
                                       take({record.image, bad ? "is no picture" : ""});
                                     }
                                   });
  const auto left = drop_unreadable(file, said, {.share = 1});
  ASSERT_EQ(left.size(), 2u);
  EXPECT_EQ(left[1].text, "c.png");
  ASSERT_EQ(file.records.size(), 2u);
  EXPECT_EQ(file.records[1].image, "c.png");
  ASSERT_EQ(file.bad.size(), 1u);
  EXPECT_EQ(file.bad[0].what, "is no picture");
}

}  // namespace
}  // namespace blip2

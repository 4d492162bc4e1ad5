#include "blip2/answers/answer_scores.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "blip2/base/error.h"

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

TEST(AnswerScores, DomainsAreSetsOfTheirOwn) {
  std::vector<Record> records(3);
  records[0].captions = records[1].captions = {"a red circle"};
  records[2].captions = {"a blue square"};
  records[0].kinds = records[2].kinds = {{"domain", "in-domain"}};
  std::vector<RecordAnswer> answers{{"a red circle"}, {"a red disc"}, {"a red square"}};
  const auto scores = score_captions(records, answers);
  const auto& parts = scores["by_kind"]["domain"];
  ASSERT_EQ(parts.size(), 1u);  // the second picture has no domain
  EXPECT_EQ(parts["in-domain"]["captions"], 2);
  EXPECT_EQ(parts["in-domain"]["exact"], 0.5);
  std::vector<Record> some{records[0], records[2]};
  std::vector<RecordAnswer> their{answers[0], answers[2]};
  EXPECT_EQ(parts["in-domain"]["cider"], score_captions(some, their)["cider"]);
  EXPECT_NE(answers[2].score, their[1].score) << "the document frequencies of all records count";
  EXPECT_FALSE(scores.contains("clipscore"));
}

TEST(AnswerScores, ClipScoresAreMarkedAndAveraged) {
  std::vector<Record> records(2);
  records[0].image = "a.png";
  records[1].image = "b.png";
  for (Record& record : records) record.captions = {"a circle", "a disc"};
  std::vector<RecordAnswer> answers{{"a ring"}, {"a square"}};
  mark_clip_scores(records, answers, [](std::span<const ClipItem> items) {
    std::vector<ClipResult> results;
    for (const ClipItem& item : items) {
      EXPECT_EQ(item.references.size(), 2u);
      const bool first = item.image == "a.png" && item.caption == "a ring";
      results.push_back({first ? ClipScore{1, 0.5} : ClipScore{2, 1}, ""});
    }
    return results;
  });
  EXPECT_EQ(answers[1].clip->clipscore, 2);
  const auto scores = score_captions(records, answers);
  EXPECT_EQ(scores["clipscore"], 1.5);
  EXPECT_EQ(scores["refclipscore"], 0.75);
  EXPECT_EQ(scores["clipscore_interval"][0], 1);
  EXPECT_EQ(scores["clipscore_interval"][1], 2);
  const auto unreadable = [](std::span<const ClipItem> items) {
    return std::vector<ClipResult>(items.size(), ClipResult{{}, "is no picture"});
  };
  EXPECT_THROW(mark_clip_scores(records, answers, unreadable), Error);
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

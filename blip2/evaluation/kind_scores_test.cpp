#include "blip2/evaluation/kind_scores.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace blip2 {
namespace {

using nlohmann::json;

TEST(KindScoresTest, FieldsOfVqaAndGqa) {
  const QuestionKinds vqa =
      question_kinds({{"answer_type", "other"}, {"question_type", "what is"}, {"question_id", 3}});
  EXPECT_EQ(vqa, (QuestionKinds{{"answer_type", "other"}, {"question_type", "what is"}}));
  const QuestionKinds gqa = question_kinds(
      json{{"types", {{"structural", "query"}, {"semantic", "attr"}, {"detailed", "color"}}}});
  EXPECT_EQ(gqa.size(), 3u);
  EXPECT_EQ(gqa.at("structural"), "query");
}

TEST(KindScoresTest, OddFieldsArePassedOver) {
  EXPECT_TRUE(
      question_kinds(json{{"answer_type", 3}, {"question_type", ""}, {"types", {1}}}).empty());
  EXPECT_TRUE(question_kinds(json::array({1})).empty());
}

TEST(KindScoresTest, MeansOfEachKind) {
  KindScores scores;
  EXPECT_TRUE(scores.empty());
  scores.add({{"answer_type", "number"}}, 1);
  scores.add({{"answer_type", "number"}}, 0.5);
  scores.add({{"answer_type", "other"}}, 0);
  scores.add({}, 1);
  const json out = scores.to_json();
  EXPECT_EQ(out["answer_type"]["number"], (json{{"accuracy", 0.75}, {"questions", 2}}));
  EXPECT_EQ(out["answer_type"]["other"]["accuracy"], 0);
}

}  // namespace
}  // namespace blip2

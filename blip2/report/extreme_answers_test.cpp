#include "blip2/report/extreme_answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace blip2 {
namespace {

std::string report_of(std::span<const ScoredAnswer> answers, std::size_t most) {
  HtmlReport report("t");
  add_extreme_answers(report, answers, "cider", most, [](std::size_t) { return std::string(); });
  return report.html();
}

TEST(ExtremeAnswersTest, BestThenWorst) {
  const std::vector<ScoredAnswer> answers{
      {0.5, {"middle"}}, {1, {"good"}}, {0, {"bad"}}, {0.25, {"poor"}}, {0.9, {"fine"}}};
  const std::string html = report_of(answers, 2);
  EXPECT_LT(html.find("good"), html.find("fine"));
  EXPECT_LT(html.find("fine"), html.find("Worst answers"));
  EXPECT_LT(html.find("Worst answers"), html.find("bad"));
  EXPECT_LT(html.find("bad"), html.find("poor"));
  EXPECT_EQ(html.find("middle"), html.npos);
  EXPECT_THAT(html, testing::HasSubstr("cider 0.900"));
  EXPECT_EQ(html.find("<img"), html.npos);
}

TEST(ExtremeAnswersTest, FewAnswersAreShownOnce) {
  const std::vector<ScoredAnswer> answers{{1, {"first <b>"}}};
  const std::string html = report_of(answers, 5);
  EXPECT_THAT(html, testing::HasSubstr("first &lt;b&gt;"));
  EXPECT_EQ(html.find("Worst"), html.npos);
  EXPECT_EQ(report_of({}, 5).find("Best"), std::string::npos);
}

}  // namespace
}  // namespace blip2

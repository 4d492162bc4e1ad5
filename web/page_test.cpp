#include "web/page.h"

#include <gmock/gmock.h>

#include <fstream>
#include <iterator>
#include <string>

namespace blip2 {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string text_of(const std::string& name) {
  std::ifstream file(std::string(PAGE_FOLDER) + "/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Page, IsTheJoinedDocumentByteForByte) {
  EXPECT_EQ(page(), text_of("index.html"));
  EXPECT_EQ(page_policy(), text_of("policy.txt"));
}

TEST(Page, HasItsPartsInsideAndLoadsNothing) {
  const std::string text(page());
  EXPECT_THAT(text, HasSubstr("<!doctype html>"));
  EXPECT_THAT(text, HasSubstr("watchServer();"));
  EXPECT_THAT(text, HasSubstr("prefers-color-scheme: dark"));
  EXPECT_THAT(text, Not(HasSubstr("@SCRIPT@")));
  EXPECT_THAT(text, Not(HasSubstr("@STYLE@")));
  EXPECT_THAT(text, Not(HasSubstr(" src=\"")));
  EXPECT_THAT(text, Not(HasSubstr("innerHTML")));
}

TEST(Page, PolicyNamesScriptAndStyleByTheirHashes) {
  const std::string policy(page_policy());
  EXPECT_THAT(policy, HasSubstr("default-src 'none'; script-src 'sha256-"));
  EXPECT_THAT(policy, HasSubstr("style-src 'sha256-"));
  EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
}

}  // namespace
}  // namespace blip2

#include "blip2/search/terms.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

void expect(const std::string& typed, float weight, bool is_picture, const std::string& text) {
  const TypedTerm term = read_term(typed);
  EXPECT_EQ(term.weight, weight) << typed;
  EXPECT_EQ(term.is_picture, is_picture) << typed;
  EXPECT_EQ(term.text, text) << typed;
}

TEST(ReadTerm, WordsWeightsAndSigns) {
  expect("dog", 1, false, "dog");
  expect("2*dog", 2, false, "dog");
  expect("-leash", -1, false, "leash");
  expect("-0.5*a night sky", -0.5f, false, "a night sky");
  expect("five*stars", 1, false, "five*stars");
  expect("*star", 1, false, "*star");
  expect("text:2*3", 1, false, "2*3");
  expect("image:gone.png", 1, true, "gone.png");
  expect("-3*image:gone.png", -3, true, "gone.png");
}

TEST(ReadTerm, AFileIsAPictureUnlessSaidOtherwise) {
  const std::string path = testing::TempDir() + "/photo of a dog.png";
  std::ofstream(path) << "x";
  expect(path, 1, true, path);
  expect("2*" + path, 2, true, path);
  expect("text:" + path, 1, false, path);
  std::filesystem::remove(path);
  expect(path, 1, false, path);
}

TEST(ReadTerm, NothingIsRefused) {
  for (const char* typed :
       {"", "-", "2*", "text:", "  ", "0*dog", "-0*dog", "1e9*dog", "nan*dog", "inf*dog"}) {
    EXPECT_THROW(read_term(typed), Error) << typed;
  }
}

}  // namespace
}  // namespace blip2

#include "blip2/evaluation/vqa_accuracy.h"

#include <gtest/gtest.h>

#include <vector>

namespace blip2 {
namespace {

TEST(NormaliseVqaAnswerTest, FollowsTheBenchmark) {
  EXPECT_EQ(normalise_vqa_answer("The  Two dogs."), "2 dogs");
  EXPECT_EQ(normalise_vqa_answer("none"), "0");
  EXPECT_EQ(normalise_vqa_answer("an a the"), "");
  EXPECT_EQ(normalise_vqa_answer("isnt"), "isn't");
  EXPECT_EQ(normalise_vqa_answer("Couldnt've"), "couldn't've");
  EXPECT_EQ(normalise_vqa_answer("oclock"), "o'clock");
  EXPECT_EQ(normalise_vqa_answer("somebody'd"), "somebodyd");
  EXPECT_EQ(normalise_vqa_answer("wed"), "wed");
  EXPECT_EQ(normalise_vqa_answer("3.5 m."), "3.5 m");
  EXPECT_EQ(normalise_vqa_answer("t-shirt"), "t shirt");           // a space where none is near
  EXPECT_EQ(normalise_vqa_answer("t-shirt - red"), "tshirt red");  // dropped where one is
  EXPECT_EQ(normalise_vqa_answer("1,000-2"), "10002");             // all dropped in numbers
  EXPECT_EQ(normalise_vqa_answer("yes, sir!"), "yes sir");
  EXPECT_EQ(normalise_vqa_answer("\n\t "), "");
  EXPECT_EQ(normalise_vqa_answer("Écru\u00a0The Été"), "écru été");
  EXPECT_EQ(normalise_vqa_answer(std::string(34, '.')), "..");  // 32 go, as in the original
}

std::vector<std::string> people(int agree, const std::string& answer) {
  std::vector<std::string> all(10, "other");
  std::fill_n(all.begin(), agree, answer);
  return all;
}

TEST(VqaAccuracyTest, TenPeople) {
  EXPECT_DOUBLE_EQ(vqa_accuracy("cat", people(0, "cat")), 0);
  EXPECT_DOUBLE_EQ(vqa_accuracy("cat", people(1, "cat")), 0.3);
  EXPECT_DOUBLE_EQ(vqa_accuracy("cat", people(2, "cat")), 0.6);
  EXPECT_DOUBLE_EQ(vqa_accuracy("cat", people(3, "cat")), 0.9);
  EXPECT_DOUBLE_EQ(vqa_accuracy("cat", people(4, "cat")), 1);
  EXPECT_DOUBLE_EQ(vqa_accuracy("A cat.", people(5, "Cat")), 1);
  EXPECT_DOUBLE_EQ(vqa_accuracy("cat", people(10, "cat")), 1);
  // As in the benchmark's code, nothing is put in normal form where all agree.
  EXPECT_DOUBLE_EQ(vqa_accuracy("Cat", people(10, "cat")), 0);
}

TEST(VqaAccuracyTest, OtherwiseAnyRightAnswer) {
  EXPECT_EQ(vqa_accuracy("Red", std::vector<std::string>{"red"}), 1);
  EXPECT_EQ(vqa_accuracy("red", std::vector<std::string>{"blue", "red"}), 1);
  EXPECT_EQ(vqa_accuracy("triangle", std::vector<std::string>{"Triangle."}), 1);
  EXPECT_EQ(vqa_accuracy("a red", std::vector<std::string>{"red"}), 1);
  EXPECT_EQ(vqa_accuracy("reddish", std::vector<std::string>{"red"}), 0);
  EXPECT_EQ(vqa_accuracy("", std::vector<std::string>{"a"}), 0);  // "a" has an empty normal form
  EXPECT_EQ(vqa_accuracy("A", std::vector<std::string>{"a"}), 1);
  EXPECT_EQ(vqa_accuracy("red", {}), 0);
}

}  // namespace
}  // namespace blip2

#include "blip2/data/records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "blip2/base/message_of.h"
#include "blip2/data/test_file.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RecordsTest : public ::testing::Test {
 protected:
  RecordsTest() {
    char pattern[] = "/tmp/blip2_records_XXXXXX";
    folder_ = ::mkdtemp(pattern);
    write_without_sync(folder_ / "a.png", "x");
    write_without_sync(folder_ / "b.png", "y");
    write_without_sync(folder_ / "empty.png", "");
  }
  ~RecordsTest() override { std::filesystem::remove_all(folder_); }

  RecordFile read(const std::string& text, RecordUse use = RecordUse::train,
                  BadRecordPolicy policy = {.share = 1}) {
    write_without_sync(folder_ / "data.jsonl", text);
    return read_records(folder_ / "data.jsonl", use, policy);
  }
  // What is wrong with one line beside a good one.
  std::string wrong(const std::string& line, RecordUse use = RecordUse::train) {
    const RecordFile file = read(R"({"image": "a.png", "caption": "good"})"
                                 "\n" +
                                     line + "\n",
                                 use);
    EXPECT_EQ(file.records.size(), 1u);
    return file.bad.size() == 1 && file.bad[0].line == 2 ? file.bad[0].what : "not one bad line";
  }
  std::filesystem::path folder_;
};

TEST_F(RecordsTest, ReadsEveryForm) {
  const RecordFile file = read(
      "\xEF\xBB\xBF{\"image\": \"a.png\", \"caption\": \" a cat \"}\r\n"
      "\n"
      "{\"image\": \"./b.png\", \"caption\": [\"one\", \"zwölf\"], \"image_id\": 12, \"more\": "
      "{}}\n"
      "{\"image\": \"" +
      (folder_ / "a.png").string() +
      "\", \"question\": \"what?\", \"answer\": \"a\", \"image_id\": \"x\"}\n"
      "{\"image\": \"a.png\", \"question\": \"who?\", \"answers\": [\"b\", \"c\"]}");
  ASSERT_EQ(file.records.size(), 4u);
  EXPECT_THAT(file.bad, IsEmpty());
  EXPECT_THAT(file.records[0].captions, ElementsAre("a cat"));
  EXPECT_EQ(file.records[0].image, (folder_ / "a.png").string());
  EXPECT_EQ(file.records[0].image_id, file.records[0].image);
  EXPECT_EQ(file.records[1].image, (folder_ / "b.png").string());
  EXPECT_THAT(file.records[1].captions, ElementsAre("one", "zwölf"));
  EXPECT_EQ(file.records[1].image_id, "12");
  EXPECT_EQ(file.records[1].line, 3u);
  EXPECT_EQ(file.records[2].image_id, "x");
  EXPECT_TRUE(file.records[2].is_question());
  EXPECT_THAT(file.records[3].answers, ElementsAre("b", "c"));
}

TEST_F(RecordsTest, NamesWhatIsWrong) {
  EXPECT_THAT(wrong("{\"image\": \"a.png\""), HasSubstr("byte"));
  EXPECT_THAT(wrong("[1, 2]"), HasSubstr("expected an object"));
  EXPECT_THAT(wrong("\xff\xfe"), Not(HasSubstr("not one")));
  EXPECT_THAT(wrong(R"({"caption": "x"})"), HasSubstr("\"image\""));
  EXPECT_THAT(wrong(R"({"image": "a.png"})"), HasSubstr("\"caption\" or \"question\""));
  EXPECT_THAT(wrong(R"({"image": "a.png", "captoin": "x"})"),
              HasSubstr("did you mean \"caption\" by \"captoin\""));
  EXPECT_THAT(wrong(R"({"image": "a.png", "caption": 3})"), HasSubstr("expected text, got 3"));
  EXPECT_THAT(wrong(R"({"image": "a.png", "caption": []})"), HasSubstr("empty list"));
  EXPECT_THAT(wrong(R"({"image": "a.png", "caption": ["x", null]})"), HasSubstr("got null"));
  EXPECT_THAT(wrong(R"({"image": "a.png", "caption": "  "})"), HasSubstr("is empty"));
  EXPECT_THAT(wrong(R"({"image": "a.png", "question": "q"})"), HasSubstr("\"answer\""));
  EXPECT_THAT(wrong(R"({"image": "a.png", "question": "q", "answer": "a", "caption": "c"})"),
              HasSubstr("got both"));
  EXPECT_THAT(wrong(R"({"image": "a.png", "caption": "c", "image_id": 1.5})"),
              HasSubstr("image_id"));
  EXPECT_THAT(wrong(R"({"image": ["a.png"], "caption": "c"})"), HasSubstr("\"image\""));
}

TEST_F(RecordsTest, KeywordsAreAListOfTexts) {
  const auto file = read(
      "{\"image\": \"a.png\", \"caption\": \"x\", \"keywords\": [\" dog \", \"\", \"hot dog\"]}\n"
      "{\"image\": \"a.png\", \"caption\": \"x\", \"keywords\": []}\n");
  EXPECT_THAT(file.records[0].keywords, ElementsAre("dog", "hot dog"));
  EXPECT_TRUE(file.records[1].keywords.empty());
  EXPECT_THAT(wrong(R"({"image": "a.png", "caption": "c", "keywords": "dog"})"),
              HasSubstr("\"keywords\": expected a list of texts, got \"dog\""));
  EXPECT_THAT(wrong(R"({"image": "a.png", "caption": "c", "keywords": ["dog", 7]})"),
              HasSubstr("\"keywords\": expected text, got 7"));
}

TEST_F(RecordsTest, FindsMissingPicturesUpFront) {
  EXPECT_THAT(wrong(R"({"image": "no.png", "caption": "x"})"),
              HasSubstr((folder_ / "no.png").string()));
  EXPECT_THAT(wrong(R"({"image": ".", "caption": "x"})"), HasSubstr("not a file"));
  EXPECT_THAT(wrong(R"({"image": "empty.png", "caption": "x"})"), HasSubstr("is empty"));
  EXPECT_THAT(wrong(R"({"image": "a.png\u0000.txt", "caption": "x"})"), HasSubstr("zero byte"));
}

TEST_F(RecordsTest, BoundsALine) {
  EXPECT_THAT(wrong("{\"image\": \"" + std::string(2 << 20, 'a') + "\"}"), HasSubstr("at most"));
  EXPECT_THAT(wrong(std::string(1000, '[')), Not(HasSubstr("not one")));
}

TEST_F(RecordsTest, UseDecidesWhatIsNeeded) {
  const std::string text = "{\"image\": \"a.png\", \"question\": \"q\"}\n{\"image\": \"b.png\"}\n";
  EXPECT_EQ(read(text, RecordUse::pictures).records.size(), 2u);
  EXPECT_EQ(read(text, RecordUse::ask).records.size(), 1u);
  EXPECT_THAT(message_of([&] { read(text, RecordUse::train); }), HasSubstr("no good record"));
}

TEST_F(RecordsTest, PolicyStopsAndListsTheFirst) {
  std::string text;
  for (int i = 0; i < 90; ++i) text += "{\"image\": \"a.png\", \"caption\": \"x\"}\n";
  for (int i = 0; i < 10; ++i) text += "broken\n";
  EXPECT_EQ(read(text, RecordUse::train, {.share = 0.1}).bad.size(), 10u);
  const std::string message =
      message_of([&] { read(text, RecordUse::train, {.share = 0.09, .listed = 2}); });
  EXPECT_THAT(message, HasSubstr("more than 9 %"));
  EXPECT_THAT(message, HasSubstr("10 of 100 records are bad"));
  EXPECT_THAT(message, HasSubstr("data.jsonl:91: "));
  EXPECT_THAT(message, HasSubstr("data.jsonl:92: "));
  EXPECT_THAT(message, HasSubstr("and 8 more"));
  EXPECT_THAT(message_of([&] { read("\n\n"); }), HasSubstr("holds no record"));
  EXPECT_THAT(message_of([&] { read_records(folder_ / "no.jsonl"); }), HasSubstr("no.jsonl"));
}

TEST_F(RecordsTest, UnreadablePicturesBecomeBadRecords) {
  const std::string text =
      "{\"image\": \"a.png\", \"caption\": \"x\"}\nbroken\n{\"image\": \"b.png\", \"caption\": "
      "\"y\"}\n";
  RecordFile file = read(text);
  const std::map<std::string, std::string> unreadable{{(folder_ / "a.png").string(), "no picture"}};
  drop_pictures(file, unreadable, {.share = 1});
  ASSERT_EQ(file.records.size(), 1u);
  EXPECT_EQ(file.records[0].line, 3u);
  EXPECT_EQ(file.bad[0].line, 1u);
  EXPECT_EQ(file.bad[0].what, "no picture");
  EXPECT_THAT(message_of([&] { drop_pictures(file, {}, {.share = 0.5}); }), HasSubstr("2 of 3"));
}

}  // namespace
}  // namespace blip2

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "blip2/data/record_test.h"
#include "blip2/io/test_tar.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace blip2::testing;  // NOLINT: the builders read better without a prefix

class RecordTextsTest : public RecordTest {};

TEST_F(RecordTextsTest, BlanksAmongManyAreLeftOutOrKept) {
  for (const char* name : {"1.jpg", "2.jpg", "3.jpg"}) put(name, "x");
  const RecordFile coco = read("coco:" + put("c.json", R"({"images": [{"id": 1, "file_name":
      "1.jpg"}, {"id": 2, "file_name": "2.jpg"}], "annotations": [{"image_id": 1, "caption": " "},
      {"image_id": 1, "caption": "one"}, {"image_id": 2, "caption": ""}]})"));
  ASSERT_EQ(coco.records.size(), 1u);
  EXPECT_THAT(coco.records[0].captions, ElementsAre("one"));
  EXPECT_THAT(describe_bad_records(coco),
              HasSubstr("1 of 2 records are bad: c.json: image 2: all its captions are blank; 1 "
                        "blank caption is left out, the first of "));
  const RecordFile karpathy = read("karpathy:" + put("k.json", R"({"images": [{"filename": "1.jpg",
      "split": "test", "sentences": [{"raw": "a"}, {"raw": ""}, {"raw": "b"}]}]})"));
  EXPECT_THAT(karpathy.records.at(0).captions, ElementsAre("a", "b"));
  EXPECT_EQ(karpathy.records[0].blanks, 1u);
  const RecordFile regions = read("vg:" + put("r.json", R"([{"id": 1, "regions": [{"phrase": ""},
      {"phrase": "sky"}, {"phrase": "\t"}]}, {"id": 2, "regions": [{"phrase": ""}]}])"));
  EXPECT_THAT(regions.records.at(0).captions, ElementsAre("sky"));
  EXPECT_EQ(regions.records[0].blanks, 2u);
  EXPECT_EQ(regions.bad.size(), 1u);
  const std::string asked = put("q.json", R"([{"id": 1, "qas": [{"question": "a?", "answer": "x"},
      {"question": " ", "answer": "y"}, {"question": "b?", "answer": ""}, {"question": "c?",
      "answer": "z"}]}])");
  const RecordFile questions = read("vg:" + asked);
  EXPECT_EQ(questions.records.size(), 2u);
  ASSERT_EQ(questions.bad.size(), 2u);
  EXPECT_EQ(questions.bad[1].where, "q.json: entry 1, question 3");
  EXPECT_EQ(read("vg:" + asked, RecordUse::ask).records.size(), 3u);
  const RecordFile lavis = read("lavis:" + put("l.json", R"([{"image": "1.jpg", "caption": ""},
      {"image": "2.jpg", "caption": ["", "two"]}, {"image": "3.jpg", "question": "q?", "answer":
      ["", "x", "x"]}, {"image": "3.jpg", "question": "q?", "answer": ["", " "]}])"));
  ASSERT_EQ(lavis.records.size(), 2u);
  EXPECT_THAT(lavis.records[0].captions, ElementsAre("two"));
  EXPECT_THAT(lavis.records[1].answers, ElementsAre("", "x", "x"));
  EXPECT_EQ(lavis.bad.size(), 2u);
}

TEST_F(RecordTextsTest, NumbersAsPythonWritesThem) {
  put("1.jpg", "x");
  const RecordFile lines = read(put("a.jsonl", R"({"image": "1.jpg", "caption": "a", "clip": NaN}
      {"image": "1.jpg", "caption": "b", "x": [Infinity, -Infinity, 1e400], "image_id": 3.0}
      {"image": "1.jpg", "caption": "NaN", "image_id": null, "question": null}
      {"image": "1.jpg", "caption": NaN}
      {"image": "1.jpg", "caption": "c", "image_id": 3.5})"));
  ASSERT_EQ(lines.records.size(), 3u);
  EXPECT_EQ(lines.records[1].image_id, "3");
  EXPECT_EQ(lines.records[2].image_id, lines.records[2].image);
  EXPECT_THAT(lines.records[2].captions, ElementsAre("NaN"));
  EXPECT_EQ(lines.bad.size(), 2u);
  // Recognised, too, where the first entry has such a number.
  const RecordFile lavis =
      read(put("l.json", R"([{"score": NaN, "image": "1.jpg", "caption": "a"}])"));
  EXPECT_EQ(lavis.records.size(), 1u);
  const RecordFile coco = read(put("c.json", R"({"images": [{"id": 1.0, "file_name": "1.jpg",
      "area": Infinity}], "annotations": [{"image_id": 1, "caption": "a", "area": NaN}]})"));
  ASSERT_EQ(coco.records.size(), 1u);
  EXPECT_EQ(coco.records[0].image_id, "coco:1");
  put("2.jpg", "x");
  put("2.json", R"({"caption": "two", "similarity": NaN, "image_id": null})");
  EXPECT_EQ(read("folder:" + folder_.string()).records.size(), 1u);
}

TEST_F(RecordTextsTest, TextsWithAMarkAndInUtf16) {
  using namespace std::string_literals;
  const std::string mark = "\xEF\xBB\xBF", wide =
                                               "\xFF\xFE"
                                               "a\0"s;
  const RecordFile shard =
      read(put("s.tar", tar_member("1.jpg", "x") + tar_member("1.txt", mark + "one") +
                            tar_member("2.jpg", "x") + tar_member("2.txt", wide) + tar_end()));
  EXPECT_THAT(shard.records.at(0).captions, ElementsAre("one"));
  EXPECT_THAT(shard.bad.at(0).what, HasSubstr("expected UTF-8 text, got UTF-16"));
  put("d/1.jpg", "x");
  put("d/1.txt", wide);
  put("d/2.jpg", "x");
  put("d/2.txt", "t\0w\0o\0"s);
  put("d/3.jpg", "x");
  const RecordFile folder = read("folder:" + (folder_ / "d").string(), RecordUse::pictures);
  EXPECT_EQ(folder.bad.size(), 2u);
  const std::string line = R"({"image": "d/1.jpg", "caption": "\ufeffone"})"
                           "\n";
  const RecordFile lines = read(put("a.jsonl", mark + line + mark + line));
  ASSERT_EQ(lines.records.size(), 2u);
  EXPECT_THAT(lines.records[1].captions, ElementsAre("one"));
  for (const char* kind : {"jsonl:", "lavis:", "coco:", "karpathy:", "vg:", "vqav2:", ""}) {
    EXPECT_THAT(failure(kind + put("w.json", wide)), HasSubstr("got UTF-16; save it as UTF-8"))
        << kind;
  }
}

}  // namespace
}  // namespace blip2

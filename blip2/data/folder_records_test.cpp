#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "blip2/data/record_test.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FolderRecordsTest : public RecordTest {};

TEST_F(FolderRecordsTest, FoldersOfPictures) {
  put("d/b/2.JPG", "x");
  put("d/b/2.json", R"({"question": "q?", "answer": "a"})");
  put("d/a.png", "x");
  put("d/a.txt", " a cat\n");
  put("d/c.webp", "x");
  put("d/.hidden.png", "x");
  put("d/notes.md", "x");
  const RecordFile file = read((folder_ / "d").string());
  ASSERT_EQ(file.records.size(), 2u);
  EXPECT_THAT(file.records[0].captions, ElementsAre("a cat"));
  EXPECT_EQ(file.records[1].question, "q?");
  ASSERT_EQ(file.bad.size(), 1u);
  EXPECT_EQ(file.bad[0].where, "c.webp");
  EXPECT_EQ(read((folder_ / "d").string(), RecordUse::pictures).records.size(), 3u);
  put("d/metadata.jsonl",
      "{\"file_name\": \"a.png\", \"caption\": \"m\"}\n{\"image\": \"c.webp\", "
      "\"caption\": \"n\"}\n");
  const RecordFile listed = read((folder_ / "d").string());
  ASSERT_EQ(listed.records.size(), 2u);
  EXPECT_THAT(listed.records[1].captions, ElementsAre("n"));
}

TEST_F(FolderRecordsTest, FoldersOfPicturesInAnyCase) {
  put("d/E.JPEG", "x");
  put("d/E.TXT", "\xEF\xBB\xBF an e\n");
  put("d/f.PNG", "x");
  put("d/f.Json", "\xEF\xBB\xBF{\"text\": \"an f\"}");
  put("d/g.jpg", "x");
  put("d/g.TXT", "other");
  put("d/g.txt", "a g");
  put("d/d.svg", "x");
  put("d/d.txt", "a d");
  put("d/LICENSE.txt", "free");
  const RecordFile file = read((folder_ / "d").string());
  ASSERT_EQ(file.records.size(), 3u);
  EXPECT_THAT(file.records[0].captions, ElementsAre("an e"));
  EXPECT_THAT(file.records[1].captions, ElementsAre("an f"));
  EXPECT_THAT(file.records[2].captions, ElementsAre("a g"));
  const std::string described = describe_bad_records(file);
  EXPECT_THAT(described, HasSubstr("1 of 4 records are bad: d.svg: expected .jpg, .jpeg, .png, "));
  EXPECT_THAT(described, HasSubstr("passed over: 1 without a picture of their name: LICENSE.txt"));
}

TEST_F(FolderRecordsTest, FoldersOfTheHub) {
  put("d/a.png", "x");
  put("d/deep/b.jpg", "x");
  put("d/lost.png", "x");
  put("d/old.gif", "x");
  put("d/metadata.jsonl",
      "\xEF\xBB\xBF{\"file_name\": \"a.png\", \"text\": \"an a\", \"long\": \"a longer a\"}\n"
      "{\"file_name\": \"deep/b.jpg\", \"text\": \"\", \"long\": \"a longer b\"}\n");
  const std::string source = (folder_ / "d").string();
  const RecordFile file = read(source);
  ASSERT_EQ(file.records.size(), 1u);
  EXPECT_THAT(file.records[0].captions, ElementsAre("an a"));
  ASSERT_EQ(file.bad.size(), 1u);
  EXPECT_EQ(file.bad[0].where, "metadata.jsonl:2");
  EXPECT_THAT(file.passed_over, ElementsAre("2 that no line of the metadata names: lost.png, "
                                            "old.gif"));
  const RecordFile longer = read(source + "?text-column=long");
  ASSERT_EQ(longer.records.size(), 2u);
  EXPECT_THAT(longer.records[1].captions, ElementsAre("a longer b"));
  EXPECT_THAT(failure(source + "?text-column=txt"), HasSubstr("expected a text under \"txt\""));
  EXPECT_EQ(read(source + "/metadata.jsonl").records.size(), 1u);
}

TEST_F(FolderRecordsTest, TablesOfTheHub) {
  put("d/a.png", "x");
  put("d/b.png", "x");
  put("d/train/c.png", "x");
  put("d/metadata.csv",
      "\xEF\xBB\xBF"
      "file_name,text,more\r\na.png,\"one, \"\"two\"\"\nthree\",1\r\n\r\n"
      "b.png,four\r\nb.png,five,\r\nb.png,,3\r\nb.png,\xff,3\r\nno.png,x,y\r\n");
  put("d/train/metadata.csv", "question,answer,file_name\nwhat?,this,c.png\nb,\"open,c.png\n");
  const RecordFile file = read((folder_ / "d").string());
  ASSERT_EQ(file.records.size(), 3u);
  EXPECT_THAT(file.records[0].captions, ElementsAre("one, \"two\"\nthree"));
  EXPECT_EQ(file.records[0].line, 2u);
  EXPECT_THAT(file.records[1].captions, ElementsAre("five"));
  EXPECT_EQ(file.records[2].question, "what?");
  EXPECT_THAT(file.records[2].answers, ElementsAre("this"));
  const std::string bad = describe_bad_records(file);
  EXPECT_THAT(bad, HasSubstr("metadata.csv:5: expected 3 cells, as the header has, got 2"));
  EXPECT_THAT(bad, HasSubstr("metadata.csv:7: expected \"caption\" or \"question\""));
  EXPECT_THAT(bad, HasSubstr("metadata.csv:8: the row is not UTF-8"));
  EXPECT_THAT(bad, HasSubstr("metadata.csv:9: cannot find the picture"));
  EXPECT_THAT(bad, HasSubstr("train/metadata.csv:3: expected the quote that ends a cell"));
  EXPECT_EQ(file.bad.size(), 5u);
  put("e/a.png", "x");
  put("e/metadata.csv", "name,text\na.png,x\n");
  EXPECT_THAT(failure((folder_ / "e").string()), HasSubstr("a column \"file_name\""));
}

}  // namespace
}  // namespace blip2

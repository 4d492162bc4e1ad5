#include "blip2/data/record_readers_internal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "blip2/data/record_test.h"
#include "blip2/io/tar_place.h"
#include "blip2/io/test_tar.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using namespace blip2::testing;  // NOLINT: the builders read better without a prefix

class RecordReadersTest : public RecordTest {};

TEST_F(RecordReadersTest, LavisListsAreListsOfLines) {
  put("images/a.jpg", "x");
  const RecordFile file = read(put("ann/coco_karpathy_train.json", R"([
      {"caption": "one", "image": "a.jpg", "image_id": "coco_1"},
      {"caption": ["two", "three"], "image": "a.jpg"},
      {"question": "q?", "answer": ["x", "x", "y"], "image": "a.jpg", "dataset": "vqa"},
      {"caption": "lost", "image": "no.jpg"}, {"caption": 3, "image": "a.jpg"}, {"bad": }])"));
  ASSERT_EQ(file.records.size(), 3u);
  EXPECT_EQ(file.records[0].image, (folder_ / "images/a.jpg").string());
  EXPECT_EQ(file.records[0].image_id, "coco_1");
  EXPECT_THAT(file.records[1].captions, ElementsAre("two", "three"));
  EXPECT_THAT(file.records[2].answers, ElementsAre("x", "x", "y"));
  ASSERT_EQ(file.bad.size(), 3u);
  EXPECT_THAT(file.bad[0].where, StartsWith("coco_karpathy_train.json: entry 4 (byte "));
  EXPECT_THAT(file.bad[0].what, HasSubstr("?images=FOLDER"));
  EXPECT_THAT(file.bad[1].what, HasSubstr("expected text, got 3"));
  EXPECT_THAT(file.bad[2].what, HasSubstr("JSON"));
}

TEST_F(RecordReadersTest, CocoJoinsTheCaptionsOfAPicture) {
  put("train2017/1.jpg", "x");
  put("train2017/2.jpg", "x");
  const std::string source = put("annotations/captions_train2017.json", R"({"info": {"a": [1]},
      "annotations": [{"image_id": 2, "id": 1, "caption": "b1 "}, {"image_id": 1, "caption": "a"},
                      {"image_id": 2, "caption": "b2"}, {"image_id": 9, "caption": "c"}],
      "images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"},
                 {"id": 3, "file_name": "2.jpg"}, {"id": 4, "file_name": "no.jpg"}]})");
  const RecordFile file = read(source);
  ASSERT_EQ(file.records.size(), 2u);
  EXPECT_EQ(file.records[0].image, (folder_ / "train2017/1.jpg").string());
  EXPECT_EQ(file.records[0].image_id, "coco:1");
  EXPECT_THAT(file.records[1].captions, ElementsAre("b1", "b2"));
  const std::string bad = describe_bad_records(file);
  EXPECT_THAT(bad, HasSubstr("3 of 5 records are bad"));
  EXPECT_THAT(bad, HasSubstr("no.jpg"));
  EXPECT_THAT(bad, HasSubstr("its image is not in the list"));
  EXPECT_THAT(bad, HasSubstr("captions_train2017.json: image 3: has no caption"));
  EXPECT_THAT(failure(source + "?images=/nowhere"), HasSubstr("no good record"));
}

TEST_F(RecordReadersTest, PicturesHaveNoCapsDomains) {
  put("a.jpg", "x");
  const RecordFile coco = read(put("nocaps.json", R"({"images": [
      {"id": 1, "file_name": "a.jpg", "domain": "near-domain"}],
      "annotations": [{"image_id": 1, "caption": "a"}]})"));
  EXPECT_EQ(coco.records.at(0).kinds.at("domain"), "near-domain");
  const RecordFile lines =
      read(put("lines.jsonl",
               "{\"image\": \"a.jpg\", \"caption\": \"a\", \"domain\": \"in-domain\"}\n"
               "{\"image\": \"a.jpg\", \"caption\": \"a\", \"domain\": 3}\n"));
  EXPECT_EQ(lines.records.at(0).kinds.at("domain"), "in-domain");
  EXPECT_TRUE(lines.records.at(1).kinds.empty());
}

TEST_F(RecordReadersTest, KarpathyWantsASplit) {
  put("val2014/a.jpg", "x");
  put("b.jpg", "x");
  const std::string source = put("dataset_coco.json", R"({"images": [
      {"filepath": "val2014", "filename": "a.jpg", "split": "train", "cocoid": 7, "sentids": [0],
       "sentences": [{"tokens": ["x"], "raw": "A cat."}, {"raw": "A dog."}]},
      {"filename": "b.jpg", "split": "test", "sentences": [{"raw": "b"}]}], "dataset": "coco"})");
  EXPECT_THAT(failure(source), HasSubstr("expected one split, got test (1), train (1)"));
  const RecordFile train = read(source + "?split=train");
  ASSERT_EQ(train.records.size(), 1u);
  EXPECT_EQ(train.records[0].image_id, "coco:7");
  EXPECT_THAT(train.records[0].captions, ElementsAre("A cat.", "A dog."));
  EXPECT_EQ(read(source + "?split=train,test").records.size(), 2u);
  EXPECT_THAT(failure(source + "?split=val"), HasSubstr("no split 'val'"));
}

TEST_F(RecordReadersTest, VisualGenomeRegionsAndQuestions) {
  put("VG_100K/1.jpg", "x");
  put("VG_100K_2/2.jpg", "x");
  const RecordFile regions = read(put("region_descriptions.json", R"([
      {"id": 1, "regions": [{"phrase": "a sky", "x": 1}, {"phrase": "grass"}]},
      {"image_id": 2, "regions": [{"phrase": "a car"}]}, {"id": 1, "regions": []}])"));
  ASSERT_EQ(regions.records.size(), 2u);
  EXPECT_THAT(regions.records[0].captions, ElementsAre("a sky", "grass"));
  EXPECT_EQ(regions.records[1].image, (folder_ / "VG_100K_2/2.jpg").string());
  EXPECT_EQ(regions.records[1].image_id, "vg:2");
  EXPECT_EQ(regions.bad.size(), 1u);
  const RecordFile asked = read(put("question_answers.json", R"([
      {"id": 1, "qas": [{"question": "what?", "answer": "sky", "qa_id": 5},
                        {"question": "who?", "answer": "me"}]}])"));
  ASSERT_EQ(asked.records.size(), 2u);
  EXPECT_EQ(asked.records[1].question, "who?");
  EXPECT_THAT(asked.records[1].answers, ElementsAre("me"));
}

TEST_F(RecordReadersTest, Vqav2FindsPicturesAndAnswers) {
  put("val2014/COCO_val2014_000000000042.jpg", "x");
  const std::string source = put("v2_OpenEnded_mscoco_val2014_questions.json", R"({
      "questions": [{"image_id": 42, "question": "q1?", "question_id": 420},
                    {"image_id": 42, "question": "q2?", "question_id": 421},
                    {"image_id": 43, "question": "q3?", "question_id": 422}],
      "data_subtype": "val2014"})");
  EXPECT_THAT(failure(source), HasSubstr("?annotations=FILE"));
  EXPECT_EQ(read(source, RecordUse::ask).records.size(), 2u);
  put("v2_mscoco_val2014_annotations.json", R"({"annotations": [{"question_id": 420, "answers":
      [{"answer": "yes", "answer_id": 1}, {"answer": "yes"}, {"answer": ""}, {"answer": "no"}]},
      {"question_id": 421, "answers": [{"answer": ""}, {"answer": " "}]}]})");
  const RecordFile file = read(source);
  ASSERT_EQ(file.records.size(), 1u);
  EXPECT_THAT(file.records[0].answers, ElementsAre("yes", "yes", "", "no"));
  EXPECT_EQ(file.records[0].image_id, "coco:42");
  EXPECT_EQ(file.bad.size(), 2u);
  const std::string answers = (folder_ / "v2_mscoco_val2014_annotations.json").string();
  EXPECT_EQ(read(source + "?annotations=" + answers).records.size(), 1u);
  EXPECT_THAT(failure("vqav2:" + answers), HasSubstr("expected a list \"questions\""));
}

TEST_F(RecordReadersTest, TarShards) {
  put("s-0.tar", tar_member("0.jpg", "pic0") + tar_member("0.txt", "zero") +
                     tar_member("1.png", "pic1") +
                     tar_member("1.json", R"({"caption": ["a", "b"], "image_id": 5})") + tar_end());
  put("s-1.tar", tar_member("0.jpg", "other") + tar_member("0.json", R"({"question": "q?", "answer":
      "a"})") + tar_member("1.jpg", "") +
                     tar_member("1.txt", "x") + tar_member("2.jpg", "x") +
                     tar_member("2.txt", "\xff\xfd") + tar_member("3.jpg", "x") +
                     tar_member("3.json", "{"));
  const RecordFile file = read((folder_ / "s-{0..1}.tar").string());
  ASSERT_EQ(file.records.size(), 3u);
  EXPECT_EQ(read_source(file.records[0].image), "pic0");
  EXPECT_THAT(file.records[0].image, EndsWith("s-0.tar//0.jpg"));
  EXPECT_THAT(file.records[1].captions, ElementsAre("a", "b"));
  EXPECT_EQ(file.records[1].image_id, "5");
  EXPECT_EQ(read_source(file.records[2].image), "other");
  EXPECT_EQ(file.records[2].line, 3u);
  ASSERT_EQ(file.bad.size(), 3u);
  EXPECT_EQ(file.bad[0].line, 4u);
  EXPECT_THAT(file.bad[0].where, StartsWith("s-1.tar: 1 (byte "));
  EXPECT_THAT(file.bad[0].what, HasSubstr("is empty"));
  EXPECT_THAT(file.bad[1].what, HasSubstr("not UTF-8"));
  EXPECT_THAT(file.damage, ElementsAre(HasSubstr("s-1.tar ends at byte")));
  EXPECT_EQ(read(folder_.string()).records.size(), 3u);
  EXPECT_THAT(failure((folder_ / "s-{0..2}.tar").string()), HasSubstr("s-2.tar"));
  RecordFile dropped = file;
  drop_pictures(dropped, {{file.records[0].image, "not a picture"}}, {.share = 1});
  EXPECT_EQ(dropped.bad.size(), 4u);
  EXPECT_EQ(dropped.bad[0].line, 1u);
}

TEST_F(RecordReadersTest, FindsPicturesInTheOtherReleasesFolders) {
  put("train2017/000000000042.jpg", "x");
  put("val2014/COCO_val2014_000000000007.jpg", "x");
  put("flickr30k-images/1.jpg", "x");
  const RecordFile karpathy = read("karpathy:" + put("dataset_coco.json", R"({"images": [
      {"filepath": "val2014", "filename": "COCO_val2014_000000000042.jpg", "split": "test",
       "sentences": [{"raw": "a"}]}]})"));
  EXPECT_THAT(karpathy.records.at(0).image, EndsWith("/train2017/000000000042.jpg"));
  const RecordFile lavis = read(put("l.json", R"([
      {"image": "train2014/COCO_train2014_000000000042.jpg", "caption": "a"},
      {"image": "train2017/000000000007.jpg", "caption": "b"}])"));
  EXPECT_THAT(lavis.records.at(1).image, EndsWith("/val2014/COCO_val2014_000000000007.jpg"));
  const RecordFile questions =
      read(put("v2_OpenEnded_mscoco_train2014_questions.json", R"({"questions": [{"image_id": 42,
      "question": "q?", "question_id": 1}], "data_subtype": "train2014"})"),
           RecordUse::ask);
  EXPECT_THAT(questions.records.at(0).image, EndsWith("/train2017/000000000042.jpg"));
  const RecordFile flickr = read("karpathy:" + put("dataset_flickr30k.json", R"({"images": [
      {"filename": "1.jpg", "split": "test", "sentences": [{"raw": "a"}]}]})"));
  EXPECT_THAT(flickr.records.at(0).image, EndsWith("/flickr30k-images/1.jpg"));
}

TEST_F(RecordReadersTest, SamplesOfWhichNothingIsReadAreNamed) {
  const RecordFile file = read(put("s.tar", tar_member("1.jpg", "x") + tar_member("1.txt", "one") +
                                                tar_member("s0.input.jpg", "x") +
                                                tar_member("s0.outputs.txt", "y") + tar_end()));
  EXPECT_EQ(file.records.size(), 1u);
  EXPECT_THAT(describe_bad_records(file), HasSubstr("s0 (byte 2048): holds nothing that is read, "
                                                    "but .input.jpg, .outputs.txt"));
  EXPECT_THAT(failure(put("t.tar", tar_member("README", "x") + tar_end())),
              HasSubstr("holds no record; a sample is a picture"));
}

TEST_F(RecordReadersTest, JsonlShards) {
  put("a.jpg", "x");
  put("l/s-0.jsonl", R"({"image": "a.jpg", "caption": "one"})"
                     "\n\n"
                     R"({"image": "a.jpg", "caption": 2})");
  put("l/s-1.jsonl", "");
  put("l/s-2.jsonl",
      "{\n"
      R"({"image": "a.jpg", "caption": ["two", "three"]})");
  for (const char* source : {"l/s-{0..2}.jsonl", "l"}) {
    const RecordFile file = read((folder_ / source).string() + "?images=" + folder_.string());
    ASSERT_EQ(file.records.size(), 2u) << source;
    EXPECT_THAT(file.records[1].captions, ElementsAre("two", "three"));
    EXPECT_EQ(file.records[1].line, 5u);  // of all
    ASSERT_EQ(file.bad.size(), 2u);
    EXPECT_EQ(file.bad[0].where, "s-0.jsonl:3");
    EXPECT_EQ(file.bad[1].where, "s-2.jsonl:1");
  }
  EXPECT_THAT(failure((folder_ / "l/s-{0..3}.jsonl").string()), HasSubstr("s-3.jsonl"));
  std::filesystem::create_directory(folder_ / "none");
  EXPECT_THAT(failure("jsonl:" + (folder_ / "none").string()), HasSubstr("holds no .jsonl file"));
}

TEST_F(RecordReadersTest, ListsNamePicturesInShards) {
  const std::string shard = put("s.tar", tar_member("0.jpg", "pic0") + tar_end());
  const auto line = [](const std::string& image) {
    return R"({"caption": "c", "image": ")" + image + "\"}\n";
  };
  const RecordFile file = read(
      put("a.jsonl",
          line("tar:512+4:" + shard + "//0.jpg") + line("tar:512+9999:" + shard + "//0.jpg") +
              line("tar:18446744073709551615+4:" + shard + "//0.jpg") +
              line("tar:0+4:/no/such.tar//0.jpg") + line("tar:0+4:" + folder_.string() + "//x")));
  ASSERT_EQ(file.records.size(), 1u);
  EXPECT_EQ(read_source(file.records[0].image), "pic0");
  ASSERT_EQ(file.bad.size(), 4u);
  EXPECT_THAT(file.bad[0].what, HasSubstr("ends at byte 2048, before the picture"));
  EXPECT_THAT(file.bad[1].what, HasSubstr("ends at byte"));
  EXPECT_THAT(file.bad[2].what, HasSubstr("cannot find the shard /no/such.tar"));
  EXPECT_THAT(file.bad[3].what, HasSubstr("cannot find the shard"));
}

TEST_F(RecordReadersTest, ListsThatAreCutOffLoseOnlyTheirTail) {
  put("a.jpg", "x");
  std::string text = "[";
  for (int i = 0; i < 50; ++i) text += R"({"image": "a.jpg", "caption": "c"},)";
  const RecordFile file = read("lavis:" + put("l.json", text + R"({"image": "a.j)"));
  EXPECT_EQ(file.records.size(), 50u);
  ASSERT_EQ(file.bad.size(), 1u);
  EXPECT_THAT(file.bad[0].what, HasSubstr("cut off"));
  put("1.jpg", "x");
  const RecordFile coco = read("coco:" + put("c.json", R"({"images": [{"id": 1, "file_name":
      "1.jpg"}], "annotations": [{"image_id": 1, "caption": "good"}, {"image_id": 1, "cap)"));
  ASSERT_EQ(coco.records.size(), 1u);
  EXPECT_THAT(coco.records[0].captions, ElementsAre("good"));
  EXPECT_EQ(coco.bad.size(), 1u);
}

TEST_F(RecordReadersTest, WrongShapesAreErrorsWithAPlace) {
  EXPECT_THAT(failure("coco:" + put("a.json", "[]")), HasSubstr("a.json: expected a JSON object"));
  EXPECT_THAT(failure("coco:" + put("a.json", "{}")), HasSubstr("expected a list \"images\""));
  EXPECT_THAT(failure("coco:" + put("a.json", R"({"images": {}, "annotations": []})")),
              HasSubstr("expected a JSON list"));
  EXPECT_THAT(failure("lavis:" + put("a.json", "3")), HasSubstr("array or object"));
  EXPECT_THAT(failure("vg:" + put("a.json", "[1, null, []]")), HasSubstr("no good record"));
  EXPECT_THAT(failure("karpathy:" + put("a.json", R"({"images": [{}, 1, {"split": 3}]})")),
              HasSubstr("no good record"));
  EXPECT_THAT(failure("folder:" + put("f", "")), HasSubstr("expected a folder"));
  EXPECT_THAT(failure("tar:/no/such.tar"), HasSubstr("/no/such.tar"));
  EXPECT_THAT(failure("folder:" + folder_.string()), HasSubstr("holds no record"));
}

}  // namespace
}  // namespace blip2

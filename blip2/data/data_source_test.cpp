#include "blip2/data/data_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "blip2/base/error.h"
#include "blip2/base/message_of.h"
#include "blip2/io/test_files.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class DataSourceTest : public ::testing::Test {
 protected:
  std::string put(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return (folder_ / name).string();
  }
  DataKind kind_of(const std::string& name, const std::string& text) {
    return open_data_source(put(name, text)).kind;
  }
  const blip2::testing::TemporaryFolder temporary_;
  const std::filesystem::path& folder_ = temporary_.path();
};

TEST_F(DataSourceTest, RecognisesKindsByContent) {
  EXPECT_EQ(kind_of("a.jsonl", "nonsense"), DataKind::jsonl);
  EXPECT_EQ(kind_of("a.data", R"({"image": "x"})"), DataKind::jsonl);
  EXPECT_EQ(kind_of("a.json", R"({"image": "x", "caption": "c"})"), DataKind::jsonl);
  EXPECT_EQ(kind_of("a.json", R"([{"image": "x"}])"), DataKind::lavis);
  EXPECT_EQ(kind_of("a.json", R"([{"regions": [], "id": 1}])"), DataKind::visual_genome);
  EXPECT_EQ(kind_of("a.json", R"([{"qas": [], "id": 1}])"), DataKind::visual_genome);
  EXPECT_EQ(kind_of("a.json", R"({"info": {}, "images": [{"file_name": "x"}]})"), DataKind::coco);
  EXPECT_EQ(kind_of("a.json", R"({"annotations": [{"caption": "x"}], "images": []})"),
            DataKind::coco);
  EXPECT_EQ(kind_of("a.json", R"({"images": [{"sentences": []}]})"), DataKind::karpathy);
  EXPECT_EQ(kind_of("a.json", R"({"task_type": "x", "questions": [{"question": "q"}]})"),
            DataKind::vqav2);
  EXPECT_EQ(open_data_source((folder_ / "s-{00..03}.tar").string()).kind, DataKind::tar);
  EXPECT_EQ(open_data_source((folder_ / "s-{00..03}.jsonl").string()).kind, DataKind::jsonl);
  EXPECT_EQ(open_data_source(folder_.string()).kind, DataKind::jsonl);
  put("one.png", "x");
  EXPECT_EQ(open_data_source(folder_.string()).kind, DataKind::folder);
  put("one.tar", "x");
  EXPECT_EQ(open_data_source(folder_.string()).kind, DataKind::tar);
}

TEST_F(DataSourceTest, AnUnknownKindListsTheKnownOnes) {
  for (const std::string& source : {put("a.json", "{}"), put("b.json", "[1]"), put("c.json", ""),
                                    put("d.json", "{\"images\": [")}) {
    EXPECT_THAT(message_of([&] { open_data_source(source); }),
                HasSubstr("known kinds: jsonl, lavis, coco, karpathy, vg, vqav2, folder, tar"));
  }
  EXPECT_THAT(message_of([&] { open_data_source("coko:a.json"); }),
              HasSubstr("did you mean 'coco'?"));
  EXPECT_THAT(message_of([&] { open_data_source("tar:a.tar?images=x"); }), HasSubstr("no option"));
  EXPECT_THAT(message_of([&] { open_data_source("coco:a.json?imags=x"); }),
              HasSubstr("its options: images"));
  EXPECT_THAT(message_of([&] { open_data_source("coco:"); }), HasSubstr("empty name"));
}

TEST_F(DataSourceTest, WhatIsNoDataListsTheKinds) {
  const std::vector<std::pair<std::string, std::string>> kNames{
      {"a.tar.gz", "unpack it first"}, {"a.tgz", "unpack it"},
      {"a.jsonl.zst", "unpack it"},    {"a.csv", "a folder's metadata.csv"},
      {"a.tsv", "metadata.csv"},       {"a.token", "metadata.csv"},
      {"a.parquet", "metadata.jsonl"}, {"metadata.csv", "name its folder"},
      {"a.txt", "known kinds"}};
  for (const auto& [name, hint] : kNames) {
    const std::string source = put(name, "\x1f\x8b text, more\n");
    const std::string message = message_of([&] { open_data_source(source); });
    EXPECT_THAT(message, HasSubstr("cannot tell what kind of data this is; ")) << name;
    EXPECT_THAT(message, HasSubstr(hint)) << name;
    EXPECT_THAT(message, HasSubstr("known kinds: jsonl, lavis, coco")) << name;
  }
}

TEST_F(DataSourceTest, ReadsKindPathAndOptions) {
  const DataSource source = open_data_source("karpathy:/d/a.json?images=/p&split=train,val");
  EXPECT_EQ(source.kind, DataKind::karpathy);
  EXPECT_EQ(source.path, "/d/a.json");
  EXPECT_EQ(source.path_option("images"), "/p");
  EXPECT_EQ(source.options.at("split"), "train,val");
  const std::string odd = put("jsonl:what?.jsonl", "");
  EXPECT_EQ(open_data_source(odd).path, odd);
}

TEST_F(DataSourceTest, ResolvesPathsAgainstAFolder) {
  EXPECT_EQ(resolve_data_source("a.jsonl", "/r"), "/r/a.jsonl");
  EXPECT_EQ(resolve_data_source("/a.jsonl", "/r"), "/a.jsonl");
  EXPECT_EQ(resolve_data_source("tar:../s-{0..9}.tar", "/r/x"), "tar:/r/s-{0..9}.tar");
  EXPECT_EQ(resolve_data_source("karpathy:a.json?split=val&images=pics", "/r"),
            "karpathy:/r/a.json?images=/r/pics&split=val");
  EXPECT_EQ(resolve_data_source("", "/r"), "");
}

TEST(Braces, Expand) {
  EXPECT_THAT(expand_braces("a.tar"), ElementsAre("a.tar"));
  EXPECT_THAT(expand_braces("s-{08..11}.tar"),
              ElementsAre("s-08.tar", "s-09.tar", "s-10.tar", "s-11.tar"));
  EXPECT_THAT(expand_braces("{9..10}"), ElementsAre("9", "10"));
  EXPECT_THAT(expand_braces("{a,b}{0..1}"), ElementsAre("a0", "a1", "b0", "b1"));
  EXPECT_EQ(expand_braces("{00000..99999}").back(), "99999");
  for (const char* pattern : {"{", "{}", "{a}", "{1..}", "{2..1}", "{-1..2}", "{0..99999999}",
                              "{0..9999}{0..9999}", "{0..18446744073709551615}"}) {
    EXPECT_THROW(expand_braces(pattern), Error) << pattern;
  }
}

}  // namespace
}  // namespace blip2

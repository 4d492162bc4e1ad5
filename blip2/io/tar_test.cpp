#include "blip2/io/tar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "blip2/base/error.h"
#include "blip2/io/tar_place.h"
#include "blip2/io/test_files.h"
#include "blip2/io/test_tar.h"

namespace blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace testing;  // NOLINT: the builders read better without a prefix

using Kind = TarEntry::Kind;

class TarTest : public ::testing::Test {
 protected:
  std::vector<TarEntry> entries(const std::string& bytes) {
    TarReader reader(folder_.write("a.tar", bytes));
    std::vector<TarEntry> all;
    while (auto entry = reader.next()) all.push_back(std::move(*entry));
    cut_off_ = reader.cut_off();
    return all;
  }
  // What is said of a single member.
  std::string refusal(const std::string& member) {
    const auto all =
        entries(tar_member("first.txt", "1") + member + tar_member("last.txt", "2") + tar_end());
    EXPECT_EQ(all.front().name, "first.txt");
    EXPECT_EQ(all.back().name, "last.txt");
    return all.size() == 3 && all[1].kind != Kind::file ? all[1].what : "was not refused";
  }
  std::string failure(const std::string& bytes) {
    try {
      entries(bytes);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  TemporaryFolder folder_;
  std::string cut_off_;
};

TEST_F(TarTest, FindsMembersOfEveryForm) {
  const std::string name = std::string(150, 'd') + "/0001.jpg";
  std::string prefixed = tar_header({.name = "0002.jpg", .size = 3});
  prefixed.replace(345, 3, "far");
  set_checksum(prefixed);
  const auto all = entries(tar_header({.name = "d/", .type = '5'}) + pax_member(name, "abc") +
                           gnu_member(name, "defg") + prefixed + pad_to_block("hij") +
                           tar_header({.name = "v7.txt", .size = 2, .type = '\0', .magic = ""}) +
                           pad_to_block("kl") + tar_member("empty", "") + tar_end());
  ASSERT_EQ(all.size(), 5u);
  for (const TarEntry& entry : all) EXPECT_EQ(entry.kind, Kind::file) << entry.what;
  const TarReader reader(folder_ / "a.tar");
  EXPECT_EQ(all[0].name, name);
  EXPECT_EQ(reader.read(all[0]), "abc");
  EXPECT_FALSE(all[0].checked_name);
  EXPECT_EQ(all[1].name, name);
  EXPECT_EQ(reader.read(all[1]), "defg");
  EXPECT_EQ(all[2].name, "far/0002.jpg");
  EXPECT_EQ(reader.read(all[2]), "hij");
  EXPECT_TRUE(all[2].checked_name);
  EXPECT_EQ(reader.read(all[3]), "kl");
  EXPECT_EQ(all[4].size, 0u);
  EXPECT_EQ(cut_off_, "");
}

TEST_F(TarTest, RefusesWhatIsNoFile) {
  EXPECT_THAT(refusal(tar_header({.name = "a", .link = "/etc/passwd", .type = '2'})),
              HasSubstr("link"));
  EXPECT_THAT(refusal(tar_header({.name = "a", .link = "b", .type = '1'})), HasSubstr("link"));
  EXPECT_THAT(refusal(tar_header({.name = "a", .type = '3'})), HasSubstr("device"));
  EXPECT_THAT(refusal(tar_header({.name = "a", .type = 'Q'})), HasSubstr("unknown type"));
  EXPECT_THAT(refusal(tar_header({.name = "a", .size = 512, .type = 'S'}) + std::string(512, 'x')),
              HasSubstr("sparse"));
  const std::string sparse = pax_record("GNU.sparse.major", "1");
  EXPECT_THAT(refusal(tar_header({.name = "x", .size = sparse.size(), .type = 'x'}) +
                      pad_to_block(sparse) + tar_member("a", "body")),
              HasSubstr("sparse"));
  EXPECT_THAT(refusal(pax_member(std::string(5000, 'n'), "x")), HasSubstr("5000 bytes"));
}

TEST_F(TarTest, PassesOverTheMapOfASparseFile) {
  std::string header = tar_header({.name = "a", .size = 3, .type = 'S'});
  header[482] = 1;
  set_checksum(header);
  std::string map(512, '\0');
  map[504] = 1;
  EXPECT_THAT(refusal(header + map + std::string(512, '\0') + pad_to_block("abc")),
              HasSubstr("sparse"));
}

TEST_F(TarTest, NamesAreLabelsOnly) {
  const auto all = entries(tar_member("/etc/passwd", "a") + tar_member("../../b.jpg", "b") +
                           tar_member("c\n\x1b[2J.jpg", "c") + tar_end());
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].name, "/etc/passwd");
  EXPECT_EQ(all[1].name, "../../b.jpg");
  const TarPlace place{folder_ / "a.tar", all[2].name, all[2].offset, all[2].size};
  EXPECT_THAT(place.to_text(), ::testing::EndsWith("//c??[2J.jpg"));
  EXPECT_EQ(read_source(place.to_text()), "c");
}

TEST_F(TarTest, GoesOnAfterDamage) {
  const std::string a = tar_member("a", "1"), b = tar_member("b", "2"), c = tar_member("c", "3");
  std::string bad = b;
  bad[3] ^= 1;
  auto all = entries(a + bad + c + tar_end());
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[1].kind, Kind::damage);
  EXPECT_THAT(all[1].what, HasSubstr("bytes 1024 to 2048"));
  EXPECT_THAT(all[1].lost, ElementsAre(std::string("b")));
  EXPECT_EQ(all[2].name, "c");
  // A size that leads nowhere.
  const std::string wide = tar_header({.name = "b", .size = 1000}) + pad_to_block("2");
  all = entries(a + wide + c + c + tar_end());
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[1].kind, Kind::refused);
  EXPECT_THAT(all[1].what, HasSubstr("size is wrong"));
  const std::string huge = tar_header({.name = "b", .size = 077777777777}) + pad_to_block("2");
  all = entries(a + huge + c + tar_end());
  ASSERT_EQ(all.size(), 3u);
  EXPECT_THAT(all[1].what, HasSubstr("8589934591 bytes expected, 512 are there"));
  // Zeros between two archives are no damage, zeros over a header are.
  EXPECT_EQ(entries(a + tar_end() + c + tar_end()).size(), 2u);
  all = entries(a + std::string(512, '\0') + pad_to_block("body of the lost") + c + tar_end());
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[1].kind, Kind::damage);
  EXPECT_EQ(all[1].header, 1024u);
}

TEST_F(TarTest, BinarySizesAndWrongOnes) {
  std::string header = tar_header({.name = "big", .size = 0});
  header.replace(124, 12, std::string("\x80\0\0\0\0\0\0\0\0\0\0\3", 12));
  set_checksum(header);
  const auto all = entries(header + pad_to_block("abc") + tar_end());
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].size, 3u);
  for (const std::string& size :
       {std::string(12, '\xff'), std::string(12, '\x80'), std::string("notanumber!!")}) {
    std::string bad = tar_header({.name = "a", .size = 0});
    bad.replace(124, 12, size);
    set_checksum(bad);
    EXPECT_NE(refusal(bad), "was not refused");
  }
}

TEST_F(TarTest, BoundsWhatDescribesAMember) {
  const std::string huge(2 << 20, 'x');
  EXPECT_THAT(refusal(tar_header({.name = "x", .size = huge.size(), .type = 'x'}) + huge +
                      tar_member("a", "1")),
              HasSubstr("damaged"));
  std::string chain;
  for (int i = 0; i < 40; ++i) chain += tar_header({.name = "g", .type = 'g'});
  EXPECT_THAT(refusal(chain + tar_member("a", "1")), HasSubstr("damaged"));
  for (const char* text : {"", "5 a=\n", "99 path=a\n", "10 path=a", "9 pathxa\n", "9 patl=a\n"}) {
    if (std::string(text).empty()) continue;
    const std::string records = text;
    EXPECT_THAT(refusal(tar_header({.name = "x", .size = records.size(), .type = 'x'}) +
                        pad_to_block(records) + tar_member("a", "1")),
                HasSubstr("damaged"))
        << text;
  }
}

TEST_F(TarTest, SaysWhereItIsCutOff) {
  const std::string whole = tar_member("a", "1") + tar_member("b", std::string(700, '2'));
  EXPECT_EQ(entries(whole + tar_end()).size(), 2u);
  EXPECT_EQ(cut_off_, "");
  EXPECT_EQ(entries(whole).size(), 2u);
  EXPECT_THAT(cut_off_, HasSubstr("ends at byte 2560 without an end mark"));
  const auto all = entries(whole.substr(0, 2000));
  EXPECT_EQ(all[1].kind, Kind::refused);
  EXPECT_THAT(cut_off_, HasSubstr("cut off at byte 2000: 700 bytes expected, 464 are there of b"));
}

TEST_F(TarTest, RefusesWhatIsNoArchive) {
  EXPECT_THAT(failure(""), HasSubstr("is empty"));
  EXPECT_THAT(failure("\x1f\x8b\x08 rest"), HasSubstr("compressed"));
  EXPECT_THAT(failure("this is text"), HasSubstr("found no header"));
  EXPECT_THAT(failure(std::string(5000, '\0')), HasSubstr("found no header"));
  EXPECT_THROW(TarReader("/no/such.tar"), Error);
  EXPECT_THROW(TarReader("/tmp"), Error);
}

TEST(TarPlace, TextIsReadBack) {
  const TarPlace place{"/a b/c:d+1.tar", "x//y:1+2:z.jpg", 512, 77};
  EXPECT_EQ(place.to_text(), "tar:512+77:/a b/c:d+1.tar//x//y:1+2:z.jpg");
  const auto parsed = TarPlace::parse(place.to_text());
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->archive, place.archive);
  EXPECT_EQ(parsed->member, place.member);
  EXPECT_EQ(parsed->offset, 512u);
  EXPECT_EQ(parsed->size, 77u);
  for (const char* text :
       {"", "tar:", "tar:1+2", "tar:1+2:/a", "tar:x+2:/a//b", "tar:1+:/a//b",
        "tar:1+99999999999999999999:/a//b", "/tar:1+2:/a//b", "tar:-1+2:/a//b"}) {
    EXPECT_FALSE(TarPlace::parse(text)) << text;
  }
}

TEST(TarPlace, ReadsBoundedParts) {
  const TemporaryFolder folder;
  const std::string path = folder.write("a.tar", "0123456789").string();
  EXPECT_EQ(read_source("tar:2+3:" + path + "//m"), "234");
  EXPECT_EQ(read_source(path), "0123456789");
  EXPECT_THROW(read_source("tar:8+3:" + path + "//m"), Error);
  EXPECT_THROW(read_source("tar:99+3:" + path + "//m"), Error);
  EXPECT_THROW(read_source("tar:0+9000000000:" + path + "//m"), Error);
  EXPECT_THROW(read_source("tar:0+3:" + path + ".no//m"), Error);
}

}  // namespace
}  // namespace blip2

#include "blip2/io/tar_writer.h"

#include <gtest/gtest.h>

#include "blip2/base/error.h"
#include "blip2/io/tar.h"
#include "blip2/io/test_files.h"

namespace blip2 {
namespace {

TEST(TarWriterTest, IsReadBack) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "a.tar";
  const std::string block(512, 'x'), name(100, 'n');
  {
    TarWriter writer(path);
    writer.add("0.jpg", "picture");
    writer.add("0.json", "");
    writer.add(name, block);
    EXPECT_FALSE(std::filesystem::exists(path));
    writer.commit();
  }
  // Headers, two bodies of one block, the end mark.
  EXPECT_EQ(std::filesystem::file_size(path), 3 * 512u + 2 * 512u + 1024u);
  TarReader reader(path);
  for (const auto& [wanted, body] :
       {std::pair<std::string, std::string>{"0.jpg", "picture"}, {"0.json", ""}, {name, block}}) {
    const auto entry = reader.next();
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->kind, TarEntry::Kind::file);
    EXPECT_EQ(entry->name, wanted);
    EXPECT_EQ(reader.read(*entry), body);
  }
  EXPECT_FALSE(reader.next());
  EXPECT_EQ(reader.cut_off(), "");
}

TEST(TarWriterTest, LeavesNothingWithoutCommit) {
  const testing::TemporaryFolder folder;
  TarWriter(folder.path() / "a.tar").add("a", "b");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(TarWriterTest, RefusesNamesThatDoNotFit) {
  const testing::TemporaryFolder folder;
  TarWriter writer(folder.path() / "a.tar");
  EXPECT_THROW(writer.add("", "b"), Error);
  EXPECT_THROW(writer.add(std::string(101, 'n'), "b"), Error);
}

}  // namespace
}  // namespace blip2

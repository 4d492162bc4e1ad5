#include "blip2/indexing/picture_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "blip2/base/content_hash.h"
#include "blip2/image/image.h"
#include "blip2/indexing/picture_walk.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class PictureFileTest : public testing::Test {
 protected:
  PictureFileTest() {
    std::string name = (fs::temp_directory_path() / "blip2_file_XXXXXX").string();
    root_ = mkdtemp(name.data());
  }
  ~PictureFileTest() override { fs::remove_all(root_); }

  // A file that was modified long ago.
  std::string make(const std::string& name, const std::string& content) {
    const std::string path = root_ + "/" + name;
    std::ofstream(path) << content;
    const timespec times[2] = {{1000, 5}, {1000, 5}};
    ::utimensat(AT_FDCWD, path.c_str(), times, 0);
    return path;
  }
  static PictureFile read(const std::string& path) {
    PictureFile file;
    file.path = path;
    read_content(file);
    return file;
  }

  std::string root_;
};

TEST_F(PictureFileTest, ReadsBytesAndTheirFacts) {
  const PictureFile file = read(make("a", "text"));
  EXPECT_EQ(file.content, "text");
  EXPECT_EQ(file.hash, content_hash(std::as_bytes(std::span("text", 4))));
  EXPECT_EQ(file.facts.bytes, 4u);
  EXPECT_EQ(file.facts.modified, 1'000'000'000'005);
  EXPECT_FALSE(file.is_bad() || file.gone);
}

TEST_F(PictureFileTest, FilesOfThisMomentAreReadAgain) {
  const std::string path = make("a", "text");
  std::ofstream(path) << "more";
  struct stat status;
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(read(path).facts.modified, modified_of(status) - 1);
}

TEST_F(PictureFileTest, DecodesPicturesAndLetsTheBytesGo) {
  const Image image{3, 2, std::vector<std::uint8_t>(18, 200)};
  PictureFile file = read(make("a", encode_png(image)));
  Preprocessing preprocessing;
  preprocessing.width = preprocessing.height = 8;
  decode_content(file, preprocessing);
  EXPECT_FALSE(file.is_bad());
  EXPECT_TRUE(file.content.empty());
  EXPECT_EQ(file.width, 3);
  EXPECT_EQ(file.height, 2);
  EXPECT_EQ(file.pixels.sizes(), (std::vector<std::int64_t>{3, 8, 8}));
}

TEST_F(PictureFileTest, BadFilesSayWhy) {
  PictureFile text = read(make("a.png", "text"));
  decode_content(text, {});
  EXPECT_THAT(text.facts.problem, HasSubstr("not a JPEG"));
  EXPECT_EQ(text.facts.problem.find(root_), std::string::npos);  // the path is beside it
  EXPECT_EQ(text.facts.bytes, 4u);

  const PictureFile gone = read(root_ + "/nothing");
  EXPECT_TRUE(gone.gone && gone.is_bad());
  const PictureFile folder = read(root_);
  EXPECT_TRUE(folder.is_bad());
  EXPECT_FALSE(folder.gone);
  ASSERT_EQ(::mkfifo((root_ + "/pipe").c_str(), 0600), 0);
  EXPECT_TRUE(read(root_ + "/pipe").is_bad());  // and does not wait for a writer
}

// One byte more than is read: nothing is read of it.
TEST_F(PictureFileTest, HugeFilesAreNotRead) {
  const std::string path = make("huge.jpg", "");
  fs::resize_file(path, (std::uint64_t{1} << 30) + 1);
  const PictureFile file = read(path);
  EXPECT_THAT(file.facts.problem, HasSubstr("the limit is 1073741824"));
  EXPECT_TRUE(file.content.empty());
}

}  // namespace
}  // namespace blip2

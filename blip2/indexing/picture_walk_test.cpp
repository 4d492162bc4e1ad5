#include "blip2/indexing/picture_walk.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "blip2/indexing/followed_folders.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using Kind = LostPlace::Kind;

// A folder of files that begin as PNG files do, or as nothing.
class PictureWalkTest : public testing::Test {
 protected:
  PictureWalkTest() {
    std::string name = (fs::temp_directory_path() / "blip2_walk_XXXXXX").string();
    root_ = fs::canonical(mkdtemp(name.data())).string();
  }
  ~PictureWalkTest() override { fs::remove_all(root_); }

  std::string make(const std::string& name, const std::string& content = "\x89PNG\r\n\x1a\n....") {
    const fs::path path = fs::path(root_) / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << content;
    return path.string();
  }
  std::string at(const std::string& name) const { return root_ + "/" + name; }

  PictureWalk walk(std::vector<std::string> folders = {}) const {
    if (folders.empty()) folders = {root_};
    return walk_pictures(folders, root_ + "/index");
  }
  // The names of the files found, below the root.
  std::vector<std::string> names(const PictureWalk& walk) const {
    std::vector<std::string> found;
    for (const WalkedFile& file : walk.files) found.push_back(file.path.substr(root_.size() + 1));
    return found;
  }
  using Names = std::vector<std::string>;

  std::string root_;
};

TEST_F(PictureWalkTest, TakesPicturesByNameAndByContent) {
  make("a.jpg", "no picture, but named so");
  make("b.PNG");
  make("c");
  make("d", "text");
  make("e.txt");
  make("f/g/h.webp");
  make("odd \"name\"\n\xff.png");
  const PictureWalk found = walk();
  EXPECT_EQ(names(found), (Names{"a.jpg", "b.PNG", "c", "f/g/h.webp", "odd \"name\"\n\xff.png"}));
  EXPECT_EQ(found.folders, (Names{root_, at("f"), at("f/g")}));
  EXPECT_TRUE(found.lost.empty());
  EXPECT_EQ(found.files[0].bytes, 24u);
  EXPECT_GT(found.files[0].modified, 1'600'000'000'000'000'000);
}

TEST_F(PictureWalkTest, LeavesOutHiddenNamesJunkAndTheIndex) {
  for (const char* name : {".hidden/a.png", ".b.png", "@eaDir/c.png", "x/.thumbnails/d.png",
                           "$RECYCLE.BIN/e.png", "index/f.png", "y.lrdata/g.png"}) {
    make(name);
  }
  make("kept/index/h.png");
  EXPECT_EQ(names(walk()), Names{"kept/index/h.png"});
  EXPECT_EQ(names(walk({at(".hidden")})), Names{".hidden/a.png"});  // it was asked for
}

TEST_F(PictureWalkTest, FollowsLinksAndEndsInLoops) {
  make("in/a.png");
  make("out/b.png");
  make("out/.store/c.png");
  fs::create_directory_symlink(root_ + "/in", at("in/loop"));
  fs::create_directory_symlink("..", at("in/up"));
  fs::create_directory_symlink(at("out"), at("in/z"));
  fs::create_symlink("a.png", at("in/same.png"));
  fs::create_symlink(at("out/.store/c.png"), at("in/second.png"));
  fs::create_symlink(at("out/.store/c.png"), at("in/first.png"));
  const PictureWalk found = walk({at("in")});
  // "up" leads to the root and so to everything else.
  EXPECT_EQ(names(found), (Names{"in/a.png", "in/first.png", "out/b.png"}));
  EXPECT_EQ(found.folders, (Names{root_, at("in"), at("out")}));
  EXPECT_EQ(names(walk({at("in"), root_, at("in/loop")})), names(found));
}

TEST_F(PictureWalkTest, SaysWhatIsLost) {
  make("here/a.png");
  fs::create_directory(at("empty"));
  fs::create_directory(at("here/empty_too"));
  fs::create_symlink(at("nowhere/folder"), at("here/dangling"));
  const PictureWalk found = walk({at("missing"), at("here"), at("empty")});
  EXPECT_EQ(names(found), Names{"here/a.png"});
  ASSERT_EQ(found.lost.size(), 3u);
  EXPECT_EQ(found.lost[0].path, at("missing"));
  EXPECT_EQ(found.lost[0].kind, Kind::missing);
  for (std::size_t i : {1u, 2u}) {
    const bool empty = found.lost[i].kind == Kind::empty;
    EXPECT_EQ(found.lost[i].path, at(empty ? "empty" : "nowhere/folder"));
  }
}

TEST_F(PictureWalkTest, UnreadableFoldersCostOnlyThemselves) {
  if (geteuid() == 0) GTEST_SKIP() << "root reads everything";
  make("a.png");
  make("closed/b.png");
  fs::permissions(at("closed"), fs::perms::none);
  const PictureWalk found = walk();
  fs::permissions(at("closed"), fs::perms::owner_all);
  EXPECT_EQ(names(found), Names{"a.png"});
  ASSERT_EQ(found.lost.size(), 1u);
  EXPECT_EQ(found.lost[0].kind, Kind::unreadable);
}

TEST_F(PictureWalkTest, PathsAreBelowFolders) {
  EXPECT_TRUE(is_below("/a/b", "/a"));
  EXPECT_TRUE(is_below("/a", "/a"));
  EXPECT_TRUE(is_below("/a", "/"));
  EXPECT_FALSE(is_below("/ab", "/a"));
  EXPECT_FALSE(is_below("/", "/a"));
}

TEST_F(PictureWalkTest, RealFoldersOfLinksWithoutEnds) {
  fs::create_directories(at("disk/photos"));
  fs::create_symlink("disk/photos", at("link"));
  EXPECT_EQ(real_folder(at("link/")), at("disk/photos"));
  fs::remove(at("disk/photos"));
  EXPECT_EQ(real_folder(at("link")), at("disk/photos"));
  fs::remove(at("disk"));
  EXPECT_EQ(real_folder(at("link")), at("disk/photos"));
  fs::create_symlink("round", at("round"));
  EXPECT_EQ(real_folder(at("round")), at("round"));
}

TEST(FollowedFolders, AnyPathIsKept) {
  const std::vector<std::string> folders{"/a b", "/c\n\xff%20", "/plain"};
  const std::string text = folders_to_text(folders);
  EXPECT_EQ(folders_from_text(text, "index"), folders);
  EXPECT_EQ(text, "/a%20b\n/c%0a%ff%2520\n/plain\n");
  EXPECT_TRUE(folders_from_text("", "index").empty());
  for (const char* bad : {"/a%2", "/a%zz\n", "%"}) {
    EXPECT_THROW(folders_from_text(bad, "index"), std::exception) << bad;
  }
}

}  // namespace
}  // namespace blip2

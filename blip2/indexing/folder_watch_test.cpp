#include "blip2/indexing/folder_watch.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kQuiet{30}, kLong{60'000};

class FolderWatchTest : public testing::Test {
 protected:
  FolderWatchTest() {
    std::string name = (fs::temp_directory_path() / "blip2_watch_XXXXXX").string();
    root_ = mkdtemp(name.data());
  }
  ~FolderWatchTest() override { fs::remove_all(root_); }

  void write(const std::string& name) const { std::ofstream(root_ + "/" + name) << "text"; }
  // Whether wait() returns because of what the action does, before the time is up.
  bool notices(const std::function<void()>& action) {
    action();
    const auto start = Clock::now();
    watch_.wait(kQuiet, kLong);
    return Clock::now() - start < kLong / 2;
  }

  std::string root_;
  FolderWatch watch_;
};

TEST_F(FolderWatchTest, NoticesEveryKindOfChange) {
  fs::create_directory(root_ + "/sub");
  EXPECT_TRUE(watch_.watch({root_, root_ + "/sub"}));
  EXPECT_FALSE(watch_.watch({root_, root_ + "/sub"}));
  EXPECT_TRUE(notices([&] { write("a"); }));
  EXPECT_TRUE(notices([&] { write("sub/b"); }));
  EXPECT_TRUE(notices([&] { fs::rename(root_ + "/a", root_ + "/sub/c"); }));
  EXPECT_TRUE(
      notices([&] { fs::last_write_time(root_ + "/sub/c", fs::file_time_type::clock::now()); }));
  EXPECT_TRUE(notices([&] { fs::remove(root_ + "/sub/b"); }));
  EXPECT_TRUE(notices([&] { fs::create_directory(root_ + "/new"); }));
  EXPECT_TRUE(watch_.watch({root_, root_ + "/sub", root_ + "/new"}));
  EXPECT_TRUE(notices([&] { write("new/d"); }));
  EXPECT_TRUE(notices([&] { fs::remove_all(root_ + "/new"); }));
}

TEST_F(FolderWatchTest, WaitsNoLongerThanAsked) {
  watch_.watch({root_});
  const auto start = Clock::now();
  watch_.wait(kQuiet, milliseconds(50));
  EXPECT_GE(Clock::now() - start, milliseconds(50));
}

TEST_F(FolderWatchTest, ForgetsFoldersThatAreNotAskedForAgain) {
  fs::create_directory(root_ + "/sub");
  EXPECT_TRUE(watch_.watch({root_, root_ + "/sub"}));
  EXPECT_FALSE(watch_.watch({root_}));
  watch_.wait(kQuiet, kQuiet);  // the kernel says that it watches it no longer
  write("sub/a");
  const auto start = Clock::now();
  watch_.wait(kQuiet, milliseconds(100));
  EXPECT_GE(Clock::now() - start, milliseconds(100));
}

// A folder that another one has taken the place of is watched anew, and is told.
TEST_F(FolderWatchTest, FoldersMadeAgain) {
  fs::create_directory(root_ + "/sub");
  EXPECT_TRUE(watch_.watch({root_ + "/sub"}));
  fs::remove(root_ + "/sub");
  EXPECT_FALSE(watch_.watch({root_ + "/sub"}));
  fs::create_directory(root_ + "/sub");
  EXPECT_TRUE(watch_.watch({root_ + "/sub"}));
  EXPECT_TRUE(notices([&] { write("sub/a"); }));
}

}  // namespace
}  // namespace blip2

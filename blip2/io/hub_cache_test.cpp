#include "blip2/io/hub_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "blip2/base/error.h"
#include "blip2/base/message_of.h"
#include "blip2/io/test_files.h"

namespace blip2 {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Sets a variable of the environment, or takes it away, for as long as the object lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    set(value);
  }
  ~Variable() { set(before_ ? before_->c_str() : nullptr); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void set(const char* value) const {
    if (value) {
      ::setenv(name_, value, 1);
    } else {
      ::unsetenv(name_);
    }
  }
  const char* name_;
  std::optional<std::string> before_;
};

TEST(HubCacheTest, IsWhereTheHubsToolsHaveIt) {
  const Variable a("HF_HUB_CACHE", nullptr), b("HUGGINGFACE_HUB_CACHE", nullptr);
  const Variable c("HF_HOME", nullptr), d("XDG_CACHE_HOME", nullptr), e("HOME", "/h");
  EXPECT_EQ(hub_cache_folder(), "/h/.cache/huggingface/hub");
  const Variable caches("XDG_CACHE_HOME", "/x");
  EXPECT_EQ(hub_cache_folder(), "/x/huggingface/hub");
  const Variable home("HF_HOME", "~/y");
  EXPECT_EQ(hub_cache_folder(), "/h/y/hub");
  const Variable old("HUGGINGFACE_HUB_CACHE", "/z");
  EXPECT_EQ(hub_cache_folder(), "/z");
  const Variable cache("HF_HUB_CACHE", "~");
  EXPECT_EQ(hub_cache_folder(), "/h/");
}

class HubModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(snapshot_);
    std::filesystem::create_directories(repository_ / "refs/refs/pr");
    folder_.write("models--org--a.b/refs/main", "c0ffee\n");
    folder_.write("models--org--a.b/refs/refs/pr/1", "c0ffee");
    folder_.write("models--org--a.b/refs/gone", "dead");
    folder_.write("models--org--a.b/refs/bad", "../..");
  }
  const testing::TemporaryFolder folder_;
  const std::filesystem::path repository_ = folder_ / "models--org--a.b";
  const std::filesystem::path snapshot_ = repository_ / "snapshots/c0ffee";
  const Variable cache_{"HF_HUB_CACHE", folder_.path().c_str()};
};

TEST_F(HubModelTest, IsFoundByBranchAndCommit) {
  for (const char* name : {"org/a.b", "org/a.b@main", "org/a.b@refs/pr/1", "org/a.b@c0ffee"}) {
    EXPECT_EQ(find_model(name), snapshot_) << name;
  }
  EXPECT_EQ(model_name(snapshot_), "org/a.b");
  EXPECT_EQ(model_name(snapshot_ / ""), "org/a.b");
  EXPECT_EQ(model_name("build/demo/model/"), "model");
}

TEST_F(HubModelTest, GivesWayToAPath) {
  std::filesystem::create_directories(folder_ / "org/a.b");
  EXPECT_EQ(find_model("org/a.b", folder_.path()), folder_ / "org/a.b");
  EXPECT_EQ(find_model("../x/model.gguf", "/some/folder"), "/some/x/model.gguf");
  std::filesystem::create_directories(folder_ / "org/a.b@");
  EXPECT_EQ(find_model("org/a.b@", folder_.path()), folder_ / "org/a.b@");
  for (const char* path : {"model", "/a/b", "./a/b", "a/b/c", "a--b/c", "-a/b"}) {
    EXPECT_EQ(find_model(path), path);
  }
}

TEST_F(HubModelTest, IsNamedWithTheCommandThatFetchesIt) {
  EXPECT_THAT(message_of([] { find_model("org/other"); }),
              AllOf(HasSubstr("org/other"), HasSubstr("hf download org/other fetches")));
  for (const char* revision : {"v2", "gone"}) {
    EXPECT_THAT(message_of([&] { find_model(std::string("org/a.b@") + revision); }),
                AllOf(HasSubstr("models--org--a.b"),
                      HasSubstr(std::string("hf download org/a.b --revision ") + revision)));
  }
  EXPECT_THAT(message_of([] { find_model("org/a.b@bad"); }), HasSubstr("refs/bad"));
}

TEST_F(HubModelTest, IsNamedWithTheRevisionsThatTheCacheHas) {
  std::filesystem::create_directories(repository_ / "snapshots/ab12/folder");
  for (const char* revision : {"v2", "gone", "", "../c", "."}) {
    EXPECT_THAT(message_of([&] { find_model(std::string("org/a.b@") + revision); }),
                HasSubstr(std::string("the Hub's cache has no revision \"") + revision +
                          "\" of this model; it has main, refs/pr/1, ab12, c0ffee"))
        << revision;
  }
  EXPECT_THAT(message_of([] { find_model("org/other@"); }),
              AllOf(HasSubstr("the Hub's cache has no model of this name"),
                    HasSubstr("no revision stands behind @")));
  for (int i = 0; i < 9; ++i) {
    std::filesystem::create_directories(repository_ / "snapshots" / ("d" + std::to_string(i)));
  }
  EXPECT_THAT(message_of([] { find_model("org/a.b@v2"); }),
              HasSubstr("d3 and 5 more; hf download"));
}

}  // namespace
}  // namespace blip2

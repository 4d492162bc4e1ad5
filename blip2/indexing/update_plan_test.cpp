#include "blip2/indexing/update_plan.h"

#include <gtest/gtest.h>

namespace blip2 {
namespace {

using Names = std::vector<std::string>;
using Kind = LostPlace::Kind;

FileFacts good(const std::string& path, std::uint64_t bytes = 10, std::int64_t modified = 100) {
  return {path, bytes, modified, 1, ""};
}

KnownFiles known(const std::vector<FileFacts>& files) {
  KnownFiles by_path;
  for (const FileFacts& file : files) by_path[file.path] = file;
  return by_path;
}

TEST(UpdatePlan, ReadsWhatIsNewOrChanged) {
  const KnownFiles before =
      known({good("/a/same"), good("/a/size"), good("/a/time"), good("/a/z")});
  PictureWalk walk;
  walk.files = {
      {"/a/new", 10, 100}, {"/a/same", 10, 100}, {"/a/size", 11, 100}, {"/a/time", 10, 99}};
  const UpdatePlan plan = plan_update(before, walk, {});
  EXPECT_EQ(plan.read, (Names{"/a/new", "/a/size", "/a/time"}));
  EXPECT_EQ(plan.gone, Names{"/a/z"});
  EXPECT_EQ(plan.unchanged, 1);
}

TEST(UpdatePlan, BadFilesAreReadAgainOnlyWhenTheyChange) {
  const FileFacts bad{"/a/bad", 10, 100, std::nullopt, "damaged"};
  PictureWalk walk;
  walk.files = {{"/a/bad", 10, 100}, {"/a/closed", 10, 100}};
  const KnownFiles before = known({bad, unopened_file("/a/closed", "cannot be read")});
  const UpdatePlan plan = plan_update(before, walk, {});
  EXPECT_EQ(plan.read, Names{"/a/closed"});
  EXPECT_EQ(plan.unchanged, 0);
  walk.files[0].modified = 101;
  EXPECT_EQ(plan_update(before, walk, {}).read.size(), 2u);
}

TEST(UpdatePlan, LostPlacesKeepTheirFiles) {
  const KnownFiles before = known({good("/a/x"), good("/ab/x"), good("/b/x"), good("/c/d/x")});
  PictureWalk walk;
  walk.lost = {{"/a", "is not there", Kind::missing},
               {"/b", "is empty", Kind::empty},
               {"/c/d", "cannot be read", Kind::unreadable}};
  UpdatePlan plan = plan_update(before, walk, {});
  EXPECT_EQ(plan.gone, Names{"/ab/x"});
  EXPECT_EQ(plan.unchanged, 3);
  for (const LostFiles& lost : plan.lost) EXPECT_EQ(lost.files, 1) << lost.place.path;
  plan = plan_update(before, walk, {.remove_missing = true});
  EXPECT_EQ(plan.gone, (Names{"/a/x", "/ab/x", "/b/x"}));  // what is unreadable stays
}

TEST(UpdatePlan, YoungFilesWait) {
  const KnownFiles before = known({good("/changed"), good("/same", 10, 960)});
  PictureWalk walk;
  walk.files = {{"/changed", 12, 990},
                {"/future", 1, 2000},
                {"/new", 1, 1000},
                {"/old", 1, 950},
                {"/same", 10, 960}};
  const UpdatePlan plan = plan_update(before, walk, {.young_since = 950, .now = 1000});
  EXPECT_EQ(plan.read, (Names{"/future", "/old"}));
  EXPECT_EQ(plan.young, 2);
  EXPECT_EQ(plan.unchanged, 2);
}

TEST(UpdatePlan, SamplesComeFromAllOverTheList) {
  const Names all{"a", "b", "c", "d", "e", "f", "g"};
  EXPECT_EQ(with_sample_first(all, 3), (Names{"c", "e", "g", "a", "b", "d", "f"}));
  EXPECT_EQ(with_sample_first(all, 7), all);
  EXPECT_EQ(with_sample_first(all, 0), all);
  EXPECT_EQ(with_sample_first({}, 3), Names{});
}

}  // namespace
}  // namespace blip2

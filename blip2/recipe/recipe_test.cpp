#include "blip2/recipe/recipe.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "blip2/base/error.h"
#include "blip2/base/file.h"

namespace blip2 {
namespace {

class RecipeTest : public testing::Test {
 protected:
  RecipeTest()
      : folder_(std::filesystem::temp_directory_path() /
                ("blip2_recipe_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(folder_);
  }
  ~RecipeTest() override { std::filesystem::remove_all(folder_); }

  Recipe load(const std::string& text, std::vector<std::string> settings = {}) {
    write_file(folder_ / "r.toml", text);
    return load_recipe(folder_ / "r.toml", settings);
  }
  std::string error_of(const std::string& text, std::vector<std::string> settings = {}) {
    try {
      load(text, std::move(settings));
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  std::filesystem::path folder_;
};

constexpr char kGood[] = "init = 'model'\n[data]\ntrain = 'a.jsonl'\n";

TEST_F(RecipeTest, OwnPathsFollowTheFileSettingsTheCurrentFolder) {
  const Recipe recipe = load(kGood, {"data.validation=v.jsonl", "steps=7", "optimizer.lr=0.5"});
  EXPECT_EQ(recipe.init, (folder_ / "model").string());
  EXPECT_EQ(recipe.data.train, std::vector<std::string>{(folder_ / "a.jsonl").string()});
  EXPECT_EQ(recipe.data.validation[0], (std::filesystem::current_path() / "v.jsonl").string());
  EXPECT_EQ(recipe.steps, 7);
  EXPECT_EQ(recipe.optimizer.lr, 0.5);
}

TEST_F(RecipeTest, SettingsReplaceLists) {
  const Recipe recipe = load("init = 'm'\n[data]\ntrain = ['a', 'b']\nweights = [1, 2]\n",
                             {"data.train=/c.jsonl", "data.weights=[1]"});
  EXPECT_EQ(recipe.data.train, std::vector<std::string>{"/c.jsonl"});
}

TEST_F(RecipeTest, WritesWhatItReads) {
  const Recipe recipe = load(kGood);
  Recipe again;
  read_fields(again, write_value(recipe), "again");
  EXPECT_EQ(write_value(again), write_value(recipe));
}

TEST_F(RecipeTest, BadRecipesAreNamed) {
  EXPECT_NE(error_of("stepz = 3").find("did you mean 'steps'?"), std::string::npos);
  EXPECT_NE(error_of("[data]\ntrian = 'x'").find("did you mean 'train'?"), std::string::npos);
  EXPECT_NE(error_of("steps = = 3").find("r.toml:1:9"), std::string::npos);
  EXPECT_NE(error_of("steps = 'many'").find("steps: expected a whole number"), std::string::npos);
  EXPECT_NE(error_of(kGood, {"batch_size=0"}).find("batch_size: expected a number in [1,"),
            std::string::npos);
  EXPECT_NE(error_of(kGood, {"stage=3"}).find("stage: expected 1 or 2, got 3"), std::string::npos);
  EXPECT_NE(error_of(kGood, {"optimizer.lr=-1"}).find("optimizer.lr"), std::string::npos);
  EXPECT_NE(error_of(kGood, {"steps"}).find("expected key=value"), std::string::npos);
  EXPECT_NE(error_of(kGood, {"steps.x=1"}).find("steps: expected a whole number"),
            std::string::npos);
  EXPECT_NE(error_of("init = 'm'").find("data.train"), std::string::npos);
  EXPECT_NE(error_of(kGood, {"data.source_views=[1,2]"}).find("none or 1 numbers, got 2"),
            std::string::npos);
  EXPECT_NE(error_of(kGood, {"data.source_views=[1]", "data.views=3"}).find("got both"),
            std::string::npos);
  EXPECT_NE(error_of(kGood, {"objectives.mlm=-1"}).find("objectives"), std::string::npos);
  EXPECT_NE(error_of(kGood, {"objectives.mrm_share=1"}).find("mrm_share"), std::string::npos);
  EXPECT_NE(error_of(kGood, {"prompt.question=What"}).find("holds {}"), std::string::npos);
}

TEST_F(RecipeTest, KnowsItsFile) {
  EXPECT_EQ(load(kGood).place("init"), (folder_ / "r.toml").string() + ": init");
  EXPECT_EQ(Recipe{}.place("init"), "init");
  EXPECT_NE(error_of("init = 'nobody/has-this'\n[data]\ntrain = 'a'\n").find("r.toml: init: "),
            std::string::npos);
  EXPECT_EQ(error_of(kGood, {"init=nobody/has-this"}).find("--set: init: "), 0);
}

TEST_F(RecipeTest, AStageNeedsObjectivesThatFitTogether) {
  const std::vector<std::string> none{"objectives.itc=0", "objectives.itg_from=9",
                                      "objectives.itm_from=9"};
  EXPECT_NE(error_of(kGood, none).find("from the first step on, got none"), std::string::npos);
  const std::vector<std::string> pauses{"objectives.itc=0", "objectives.itg_every=2",
                                        "objectives.itm_from=9"};
  EXPECT_NE(error_of(kGood, pauses).find("in every step"), std::string::npos);
  EXPECT_NE(error_of(kGood, {"objectives.itm_every=0"}).find("objectives.itm_every: expected"),
            std::string::npos);
  EXPECT_NE(error_of(kGood, {"objectives.itg_every=-1"}).find("objectives.itg_every: expected"),
            std::string::npos);
  EXPECT_NE(error_of(kGood, {"stage=2", "objectives.lm=0"}).find("lm, prefix_lm or cmlm"),
            std::string::npos);
  EXPECT_NE(error_of(kGood, {"stage=2", "objectives.cmlm=1"}).find("prompt.to_qformer"),
            std::string::npos);
  EXPECT_NE(error_of(kGood, {"stage=2", "objectives.lm_from=5"}).find("objectives.words"),
            std::string::npos);
  EXPECT_NE(error_of(kGood, {"stage=2", "objectives.words=1", "objectives.alternate=true"})
                .find("objectives.alternate"),
            std::string::npos);
}

}  // namespace
}  // namespace blip2

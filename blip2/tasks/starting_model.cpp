#include "blip2/tasks/starting_model.h"

#include "blip2/base/error.h"
#include "blip2/model/directory.h"

namespace blip2 {
namespace {

void require_model(const std::filesystem::path& init, const std::string& where) {
  std::error_code ignored;
  if (std::filesystem::exists(init / "config.json", ignored)) return;
  const bool there = std::filesystem::exists(init, ignored);
  throw Error(there ? "expected a model directory, there is no " + (init / "config.json").string()
                    : "there is no folder " + init.string(),
              where, "`blip2 convert` and runs make model directories");
}

}  // namespace

StartingModel starting_model(const Recipe& recipe) {
  const std::filesystem::path init = recipe.init;
  require_model(init, recipe.place("init"));
  const auto stage1 = recipe.stage == 1 ? stage1_folder(init) : init;
  StartingModel start{read_blip2_config(init / "config.json"), stage1.value_or(init), init};
  if (start.bridge == init) return start;
  const auto language = std::move(start.config.language);
  start.config = read_blip2_config(start.bridge / "config.json");
  start.config.language = language;
  return start;
}

}  // namespace blip2

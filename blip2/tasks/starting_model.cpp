#include "blip2/tasks/starting_model.h"

#include "blip2/model/directory.h"

namespace blip2 {

StartingModel starting_model(const Recipe& recipe) {
  const std::filesystem::path init = recipe.init;
  const auto stage1 = recipe.stage == 1 ? stage1_folder(init) : init;
  StartingModel start{read_blip2_config(init / "config.json"), stage1.value_or(init), init};
  if (start.bridge == init) return start;
  const auto language = std::move(start.config.language);
  start.config = read_blip2_config(start.bridge / "config.json");
  start.config.language = language;
  return start;
}

}  // namespace blip2

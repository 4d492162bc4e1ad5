#pragma once

#include <filesystem>

#include "blip2/model/config.h"
#include "blip2/recipe/recipe.h"

namespace blip2 {

// What a recipe's `init` gives a run. Stage 2 changes the Q-Former, so that stage 1 from a
// directory of stage 2 starts from the stage-1 model that it keeps, beside the directory's own
// language model.
struct StartingModel {
  Blip2Config config;
  std::filesystem::path bridge;    // directory of the Q-Former, image encoder and their texts
  std::filesystem::path language;  // of the language model and its tokenizer
};

// Error if there is no model directory.
StartingModel starting_model(const Recipe& recipe);

}  // namespace blip2

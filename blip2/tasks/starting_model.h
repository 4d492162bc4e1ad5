#pragma once

#include <filesystem>

#include "blip2/model/config.h"
#include "blip2/recipe/recipe.h"

namespace blip2 {

// The model from which a run starts, given by the recipe's `init`. Stage 2 changes the Q-Former. So
// a run of stage 1 that begins with a stage-2 directory starts from the stage-1 model that the
// directory keeps, beside the directory's language model.
struct StartingModel {
  Blip2Config config;
  std::filesystem::path bridge;    // directory of the Q-Former, image encoder and their texts
  std::filesystem::path language;  // directory of the language model and its tokenizer
};

// Error if there is no model directory.
StartingModel starting_model(const Recipe& recipe);

}  // namespace blip2

#pragma once

#include <filesystem>

#include "blip2/training/recipe.h"

namespace blip2 {

struct TrainOptions {
  std::filesystem::path output;
  bool resume = false;
  bool allow_changed = false;  // resume although recipe or frozen parts differ from the run's
  bool json = false;           // log lines to standard output too
};

// Runs a recipe to its end and leaves a model directory at options.output: with validation the
// weights of the best checkpoint, otherwise the last. Throws Interrupted after saving a checkpoint
// if a signal came.
void train(const Recipe& recipe, const TrainOptions& options);

}  // namespace blip2

#pragma once

#include <chrono>
#include <filesystem>

#include "blip2/recipe/recipe.h"

namespace blip2 {

struct TrainOptions {
  std::filesystem::path output;
  bool resume = false;
  bool allow_changed = false;  // resume although recipe or frozen parts differ from the run's
  bool json = false;           // log lines to standard output too
  bool tensorboard = false;    // an event file, as the recipe's log.tensorboard
  std::chrono::seconds timeout{600};  // of waiting for another process
};

// Runs a recipe to its end and leaves a model directory at options.output: with validation the
// weights of the best checkpoint, otherwise the last; and a page about the run, report.html. Throws
// Interrupted after saving a checkpoint if a signal came. Of several processes
// (rank_place_from_environment) each computes an equal share of every batch and rank 0 writes; but
// for rounding and dropout the result is that of one process.
void train(const Recipe& recipe, const TrainOptions& options);

}  // namespace blip2

#pragma once

#include <chrono>
#include <filesystem>

#include "blip2/recipe/recipe.h"

namespace blip2 {

struct TrainOptions {
  std::filesystem::path output;       // folder of the run
  bool resume = false;                // go on from the newest checkpoint in `output`
  bool allow_changed = false;         // resume although recipe or frozen parts have changed
  bool json = false;                  // print the log's lines on standard output too
  bool tensorboard = false;           // write an event file, as with the recipe's log.tensorboard
  std::chrono::seconds timeout{600};  // for waiting for another process
};

// Runs a recipe to its end and leaves a model directory at options.output, with the weights of the
// best checkpoint if there are validation data, otherwise of the last, and a page about the run,
// report.html. Throws Interrupted after saving a checkpoint if a signal came. Of several processes
// (rank_place_from_environment) each computes an equal share of every batch, and rank 0 writes;
// except for rounding and dropout the result is that of one process. Call it from one thread at a
// time: it uses all threads, and the processes of a launcher communicate in one order.
void train(const Recipe& recipe, const TrainOptions& options);

}  // namespace blip2

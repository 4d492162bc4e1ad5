#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "blip2/recipe/recipe.h"
#include "blip2/training/trainer.h"

namespace blip2 {

// The findings of a dry run, and the results of its one step.
struct DryRun {
  std::int64_t records = 0, pictures = 0, validation_records = 0;
  std::int64_t pictures_read = 0,
               pictures_unreadable = 0;  // among the first pictures of each source
  double memory_bytes = 0, disk_bytes = 0,
         free_bytes = 0;                            // planned; free_bytes: where the run writes
  std::int64_t batch = 0;                           // samples in the step
  double loss = 0, gradient_norm = 0, seconds = 0;  // results of the step
};

// Checks everything that a run needs without starting it: the output folder, every data list, the
// first few pictures of each source, tokenizers, every tensor of the recipe's `init`, disk space.
// Then it takes one step on a small batch. Writes nothing. Throws the Errors that the run would
// throw.
DryRun dry_run(const Recipe& recipe, const TrainOptions& options);

nlohmann::ordered_json dry_run_json(const DryRun& result);
std::string dry_run_text(const DryRun& result);

}  // namespace blip2

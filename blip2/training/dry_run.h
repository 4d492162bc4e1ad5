#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "blip2/recipe/recipe.h"
#include "blip2/training/trainer.h"

namespace blip2 {

// What a dry run found, and the one step that it took.
struct DryRun {
  std::int64_t records = 0, pictures = 0, validation_records = 0;
  std::int64_t pictures_read = 0, pictures_unreadable = 0;  // of the first few of each source
  double memory_bytes = 0, disk_bytes = 0, free_bytes = 0;  // planned; free where the run writes
  std::int64_t batch = 0;                                   // samples of the step
  double loss = 0, gradient_norm = 0, seconds = 0;          // of the step
};

// Checks what a run needs without starting it: the output folder, every data list, the first few
// pictures of each source, tokenizers, every tensor of the recipe's `init`, disk space; then takes
// one step on a small batch. Writes nothing. Throws Error as the run would.
DryRun dry_run(const Recipe& recipe, const TrainOptions& options);

nlohmann::ordered_json dry_run_json(const DryRun& result);
std::string dry_run_text(const DryRun& result);

}  // namespace blip2

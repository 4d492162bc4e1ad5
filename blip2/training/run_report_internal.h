#pragma once

#include <filesystem>

#include "blip2/recipe/recipe.h"

namespace blip2 {

// Writes report.html into the folder of a run that has ended: the log's curves, the recipe,
// versions, hardware and the duration `seconds` of this process's run. For stage 2 with validation
// data it also has some validation pictures with the texts that the run's model generates. Error if
// the log cannot be read or the page cannot be written.
void write_run_report(const Recipe& recipe, const std::filesystem::path& folder, double seconds);

}  // namespace blip2

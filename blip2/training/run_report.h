#pragma once

#include <filesystem>

#include "blip2/recipe/recipe.h"

namespace blip2 {

// Writes report.html into the folder of a run that has ended: curves of its log, recipe, versions,
// hardware and `seconds` of this session, and for stage 2 with validation data some of its pictures
// with what the run's model says of them. Error if the log cannot be read or the page not written.
void write_run_report(const Recipe& recipe, const std::filesystem::path& folder, double seconds);

}  // namespace blip2

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "blip2/model/config.h"
#include "blip2/planning/step_plan.h"
#include "blip2/recipe/recipe.h"

namespace blip2 {

// What a recipe's data hold, and what some steps of the run read of them.
struct PlannedData {
  std::int64_t records = 0, pictures = 0;
  std::int64_t validation_records = 0, validation_pictures = 0;
  std::int64_t rows = 0;          // of the feature cache: views of different pictures
  std::int64_t word_targets = 0;  // different tokens of the words objective; 0 without it
  double epochs = 0;              // of the whole run
  double record_bytes = 0;        // of the records and their tokens in memory
  std::vector<StepTexts> steps;   // spread over the run
};

// Reads the recipe's data lists, not their pictures, and the tokenizers of `init`; the steps'
// records are drawn as the run would draw them. Errors as the run would give them.
PlannedData scan_data(const Recipe& recipe, const Blip2Config& config);

// In place of data: so many different pictures with one text of the longest length each.
PlannedData assume_data(const Recipe& recipe, std::int64_t records);

}  // namespace blip2

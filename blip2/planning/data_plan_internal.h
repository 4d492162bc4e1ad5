#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "blip2/model/config.h"
#include "blip2/planning/step_plan.h"
#include "blip2/recipe/recipe.h"

namespace blip2 {

// The sizes of a recipe's data, and the texts that some steps of the run read.
struct PlannedData {
  std::int64_t records = 0, pictures = 0;
  std::int64_t validation_records = 0, validation_pictures = 0;
  std::int64_t rows = 0;  // rows of the feature cache: views of distinct pictures
  // Texts whose states of the language model are kept with the features, their tokens, and the
  // operations of reading them; 0 if they are read in each step.
  std::int64_t state_texts = 0;
  double state_tokens = 0, state_flops = 0;
  std::int64_t word_targets = 0;  // distinct targets of the words objective; 0 without it
  double epochs = 0;              // epochs of the whole run
  double record_bytes = 0;        // memory of the records and their tokens
  std::vector<StepTexts> steps;   // sampled steps, spread over the run
};

// Reads the recipe's data lists, but no pictures, and the tokenizers of `init`. The steps' records
// are drawn as the run will draw them. Throws the Errors that the run would throw.
PlannedData scan_data(const Recipe& recipe, const Blip2Config& config);

// Assumes, instead of data, `records` distinct pictures with one text of the largest length each.
PlannedData assume_data(const Recipe& recipe, const Blip2Config& config, std::int64_t records);

}  // namespace blip2

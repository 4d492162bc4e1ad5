#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/language/lora.h"
#include "blip2/recipe/recipe.h"
#include "blip2/tasks/task.h"
#include "blip2/tasks/trained_encoder.h"
#include "blip2/text/tokenizer.h"

namespace blip2 {

// Everything that a training run needs, opened and checked.
struct TrainingSetup {
  std::shared_ptr<Bridge> bridge;
  std::unique_ptr<Tokenizer> qformer_tokenizer, language_tokenizer;
  Dataset train, validation;  // validation: empty if the recipe has none
  std::unique_ptr<TrainingTask> task;
  std::shared_ptr<const TrainedEncoder> encoder;  // nullptr: the image encoder is frozen
  std::shared_ptr<const LoraAdapters> lora;       // nullptr: no adapters are trained
  std::string frozen_hash;                        // hash of the frozen parts' weight files
};

// The loss of training items in a step or, if the batch is computed in parts, in part number `part`
// of the step; see TrainingTask::train. The items' pictures must be readable.
TaskLoss training_loss(const TrainingSetup& setup, std::span<const std::int64_t> items,
                       std::int64_t step, std::int64_t part);

// An optimiser of all parameters that the recipe trains; no other parameter requires a gradient
// afterwards.
AdamW make_optimizer(const TrainingSetup& setup, const Recipe& recipe);

// Opens the recipe's model directory and data, and computes the features that are missing. Throws
// Error naming the file if something is missing or does not fit. With `sample`, it takes only the
// first `sample` records of each source and reads their pictures when they are needed; then nothing
// is written or hashed. `ranks`, the processes that share each batch, must outlive the setup.
TrainingSetup open_training(const Recipe& recipe, const Ranks* ranks = nullptr,
                            std::optional<std::int64_t> sample = std::nullopt);

// Writes a model directory at `folder`: the trained parts, the frozen parts of the recipe's `init`,
// and for stage 2 the stage-1 model that the run started from.
void export_model(const TrainingSetup& setup, const Recipe& recipe,
                  const std::filesystem::path& folder);

}  // namespace blip2

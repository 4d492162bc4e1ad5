#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/text/tokenizer.h"
#include "blip2/training/recipe.h"
#include "blip2/training/task.h"
#include "blip2/training/trained_encoder.h"

namespace blip2 {

// Everything that a training run works on, opened and checked.
struct Session {
  std::shared_ptr<Bridge> bridge;
  std::unique_ptr<Tokenizer> qformer_tokenizer, language_tokenizer;
  Dataset train, validation;  // validation: empty if the recipe has none
  std::unique_ptr<TrainingTask> task;
  std::shared_ptr<const TrainedEncoder> encoder;  // empty: the image encoder is frozen
  std::string frozen_hash;                        // of the frozen parts' weight files
};

// The loss of training items in a step, or in its part of that number if it is computed in parts;
// see TrainingTask::train. The items' pictures must be readable.
TaskLoss training_loss(const Session& session, std::span<const std::int64_t> items,
                       std::int64_t step, std::int64_t part);

// An optimiser of all that the session's recipe trains; nothing else requires gradients afterwards.
AdamW make_optimizer(const Session& session, const Recipe& recipe);

// The configuration of the model that the recipe trains, from that of `init`.
Blip2Config trained_config(Blip2Config config, const Recipe& recipe);
// Error if the recipe cannot train a model of `init`'s configuration: it lacks a part, or an
// objective does not fit its language model.
void require_trainable(const Blip2Config& config, const Recipe& recipe);

// Opens the recipe's model directory and data, and computes the features that are missing. Throws
// Error naming the file if something is missing or does not fit. With `sample`, the first so many
// records of each source only, whose pictures are read where they are needed: nothing is written
// or hashed. `ranks`, the processes that share each batch, must outlive the session.
Session open_session(const Recipe& recipe, const Ranks* ranks = nullptr,
                     std::optional<std::int64_t> sample = std::nullopt);

// Leaves a model directory at `folder`: what was trained, the frozen parts of the recipe's `init`,
// and for stage 2 the stage-1 model that it started from.
void export_model(const Session& session, const Recipe& recipe,
                  const std::filesystem::path& folder);

}  // namespace blip2

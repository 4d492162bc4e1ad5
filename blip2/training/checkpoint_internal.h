#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "blip2/optimiser/adamw.h"

namespace blip2 {

// A checkpoint is a folder step_NNNNNNNN of three files: weights.safetensors (what is trained),
// optimizer.safetensors (its moments) and state.json (everything else, and the checksums of the
// other two files). The folder is written under another name, synced and renamed, so it is complete
// or absent.
struct Checkpoint {
  std::filesystem::path folder;
  std::int64_t step = 0;
  nlohmann::json state;
};

// Writes `folder`/step_NNNNNNNN. `state` gains "step" and "checksums". Throws Error on any failed
// write; earlier checkpoints stay as they are.
Checkpoint save_checkpoint(const std::filesystem::path& folder, std::int64_t step,
                           const std::vector<NamedTensor>& weights,
                           const std::vector<NamedTensor>& optimizer, nlohmann::json state);

// The newest checkpoint under `folder` whose files match their checksums; a warning names each
// damaged checkpoint. nullopt if there is no sound one.
std::optional<Checkpoint> newest_checkpoint(const std::filesystem::path& folder);

// Reads and verifies one checkpoint; Error naming the damaged file.
Checkpoint read_checkpoint(const std::filesystem::path& folder);

// Removes all checkpoints except the `keep` newest and that of `best_step` (if any), and everything
// that interrupted saves left behind.
void prune_checkpoints(const std::filesystem::path& folder, std::int64_t keep,
                       std::optional<std::int64_t> best_step);

// "step_00000300"
std::string checkpoint_name(std::int64_t step);

}  // namespace blip2

#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "blip2/costs/part_size.h"
#include "blip2/recipe/recipe.h"

namespace blip2 {

// The name of the feature cache in RunPlan::disk.
inline constexpr char kFeatureCacheItem[] = "feature cache";

// What a run will cost, computed from the recipe, the configuration of its `init` and its data
// lists: no weight is read, no picture opened. Memory and a step's operations are for one process
// (memory: for the process that writes), everything else is for all processes together.
struct RunPlan {
  struct Part {
    std::string name;
    std::int64_t trained = 0, frozen = 0;  // parameters; trained: a gradient reaches them
  };
  struct Bytes {
    std::string name;
    double bytes = 0;
  };
  struct Work {
    std::string name;
    Flops flops;
  };
  std::vector<Part> parts;
  std::vector<Bytes> memory;  // at the peak
  std::vector<Work> work;     // operations of one step, on average over the run's objectives
  std::vector<Bytes> disk;

  std::int64_t processes = 1;
  std::int64_t samples_per_step = 0, samples = 0;
  std::int64_t samples_at_once = 0;  // samples that one process computes at a time
  double qformer_tokens_per_step = 0, language_tokens_per_step = 0;
  std::int64_t validation_records = 0, steps = 0, records = 0, pictures = 0, feature_rows = 0;
  double epochs = 0;
  double feature_flops = 0;  // operations of filling an empty feature cache

  double peak_memory() const;
  double disk_bytes() const;
  Flops step_flops() const;
  double run_flops() const;  // all steps and the features; validation is not counted
};

// Plans a run. `processes`: number of processes that share each batch. With `records`, the plan
// assumes that number of pictures with a text of the largest length each instead of reading data
// lists and tokenizers, and `init` needs only its config.json. Throws the Errors that the run would
// throw.
RunPlan plan_run(const Recipe& recipe, std::int64_t processes,
                 std::optional<std::int64_t> records = std::nullopt);

nlohmann::ordered_json plan_json(const RunPlan& plan);
// The plan as lines of text.
std::string plan_text(const RunPlan& plan);

}  // namespace blip2

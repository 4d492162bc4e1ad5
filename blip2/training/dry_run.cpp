#include "blip2/training/dry_run.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/log.h"
#include "blip2/base/rank_place.h"
#include "blip2/image/image.h"
#include "blip2/optimiser/adamw.h"
#include "blip2/optimiser/schedule.h"
#include "blip2/planning/run_plan.h"
#include "blip2/planning/step_plan.h"
#include "blip2/training/run_folder_internal.h"
#include "blip2/training/training_setup_internal.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kPictures = 8, kBatch = 4;  // of each source; of the step

bool same_device(const fs::path& a, const fs::path& b) {
  struct stat one {
  }, other{};
  return ::stat(a.c_str(), &one) == 0 && ::stat(b.c_str(), &other) == 0 &&
         one.st_dev == other.st_dev;
}

// The first folder on the way up that there is.
fs::path existing(fs::path path) {
  path = fs::absolute(path);
  while (!fs::exists(path) && path.has_parent_path() && path != path.root_path()) {
    path = path.parent_path();
  }
  return path;
}

double free_bytes(const fs::path& path) {
  std::error_code error;
  const auto space = fs::space(existing(path), error);
  if (error) throw Error("cannot tell the free space: " + error.message(), path.string());
  return static_cast<double>(space.available);
}

double folder_bytes(const fs::path& folder) {
  double bytes = 0;
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(folder, error)) {
    if (entry.is_regular_file(error)) bytes += static_cast<double>(entry.file_size(error));
  }
  return bytes;
}

// Features that the cache may hold already are not asked for again.
void require_space(const RunPlan& plan, const Recipe& recipe, const fs::path& output) {
  const fs::path cache = recipe.data.cache;
  std::map<fs::path, double> needed;  // by file system, each named by one of its folders
  const auto place = [&](const fs::path& path) {
    const fs::path folder = existing(path);
    for (const auto& [known, bytes] : needed) {
      if (same_device(known, folder)) return known;
    }
    return folder;
  };
  for (const auto& item : plan.disk) {
    const bool features = item.name == kFeatureCacheItem;
    const double bytes = features ? std::max(0.0, item.bytes - folder_bytes(cache)) : item.bytes;
    needed[place(features ? cache : output)] += bytes;
  }
  for (const auto& [folder, bytes] : needed) {
    if (const double free = free_bytes(folder); bytes > free) {
      throw Error(fmt::format("the run writes up to {:.0f} MB, {:.0f} MB are free", bytes / 1e6,
                              free / 1e6),
                  folder.string(), "free some space, keep fewer views or checkpoints");
    }
  }
}

// The pictures of the records that can be read; a warning names unreadable ones. Error if none of a
// source can.
std::vector<std::int64_t> readable_items(const Dataset& data, DryRun& result) {
  std::vector<std::int64_t> items;
  std::map<std::string, bool> known;
  std::int64_t item = 0;
  for (const SampleSource& source : data.sources) {
    std::string failure;
    const std::size_t before = items.size();
    for (std::int64_t i = 0; i < source.count; ++i, ++item) {
      const std::string& picture = data.records[static_cast<std::size_t>(item)].image;
      const auto [found, fresh] = known.try_emplace(picture, true);
      if (fresh) {
        try {
          load_image(picture, SixteenBit::scale);  // which has nothing to warn of
          ++result.pictures_read;
        } catch (const Error& error) {
          found->second = false;
          failure = error.what();
          ++result.pictures_unreadable;
          log_warning("a picture cannot be read: {}", failure);
        }
      }
      if (found->second) items.push_back(item);
    }
    if (items.size() == before) {
      throw Error(fmt::format("none of a source's first {} pictures can be read", source.count),
                  failure);
    }
  }
  return items;
}

// Different pictures if there are some: contrast needs negatives.
std::vector<std::int64_t> small_batch(const Dataset& data, const std::vector<std::int64_t>& items,
                                      std::int64_t most) {
  std::vector<std::int64_t> batch;
  std::map<std::string, int> seen;
  for (const std::int64_t item : items) {
    const std::string& picture = data.records[static_cast<std::size_t>(item)].image;
    if (std::ssize(batch) < most && seen[picture]++ == 0) batch.push_back(item);
  }
  return batch;
}

// The last of the steps that have most objectives, as objectives may start late, pause or
// alternate.
std::int64_t fullest_step(const Recipe& recipe) {
  const auto kinds = step_kinds(recipe);
  return std::ranges::max_element(
             kinds, {}, [](const StepKind& kind) { return std::pair(kind.objectives, kind.step); })
      ->step;
}

void take_step(const Recipe& recipe, TrainingSetup& setup, DryRun& result) {
  const auto start = Clock::now();
  const Dataset& data = setup.train;
  const auto batch =
      small_batch(data, readable_items(data, result), std::min(kBatch, recipe.batch_size));
  AdamW optimizer = make_optimizer(setup, recipe);
  const TaskLoss loss = training_loss(setup, batch, fullest_step(recipe), /*part=*/0);
  loss.loss.backward();
  result.batch = std::ssize(batch);
  result.loss = loss.loss.item<double>();
  result.gradient_norm = optimizer.step(learning_rate(recipe, 0));
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  if (std::isfinite(result.loss) && std::isfinite(result.gradient_norm)) return;
  throw Error(fmt::format("expected a finite loss, got {} with a gradient of norm {}", result.loss,
                          result.gradient_norm),
              recipe.init, "use precision = \"f32\", or look at the weights");
}

}  // namespace

DryRun dry_run(const Recipe& recipe, const TrainOptions& options) {
  check_run_folder(options.output, options.resume);
  Recipe with_cache = recipe;
  with_cache.data.cache = feature_cache_folder(recipe, options.output);
  const RunPlan plan = plan_run(with_cache, rank_place_from_environment().size);
  require_space(plan, with_cache, options.output);
  DryRun result;
  result.records = plan.records;
  result.pictures = plan.pictures;
  result.validation_records = plan.validation_records;
  result.memory_bytes = plan.peak_memory();
  result.disk_bytes = plan.disk_bytes();
  result.free_bytes = free_bytes(options.output);
  TrainingSetup setup = open_training(with_cache, nullptr, kPictures);
  take_step(with_cache, setup, result);
  return result;
}

nlohmann::ordered_json dry_run_json(const DryRun& result) {
  return {{"records", result.records},
          {"validation_records", result.validation_records},
          {"pictures", result.pictures},
          {"pictures_read", result.pictures_read},
          {"pictures_unreadable", result.pictures_unreadable},
          {"memory", static_cast<std::int64_t>(result.memory_bytes)},
          {"disk", static_cast<std::int64_t>(result.disk_bytes)},
          {"disk_free", static_cast<std::int64_t>(result.free_bytes)},
          {"batch", result.batch},
          {"loss", result.loss},
          {"grad_norm", result.gradient_norm},
          {"seconds", result.seconds}};
}

std::string dry_run_text(const DryRun& result) {
  return fmt::format(
      "data: {} records, {} pictures, {} records to validate on; of the first pictures {} could be "
      "read, {} not\n"
      "memory: {:.0f} MB at the peak; disk: {:.0f} MB, {:.0f} MB are free\n"
      "a step on {} samples: loss {:.4f}, gradient norm {:.3f}, {:.1f} s\n"
      "the run can start\n",
      result.records, result.pictures, result.validation_records, result.pictures_read,
      result.pictures_unreadable, result.memory_bytes / 1e6, result.disk_bytes / 1e6,
      result.free_bytes / 1e6, result.batch, result.loss, result.gradient_norm, result.seconds);
}

}  // namespace blip2

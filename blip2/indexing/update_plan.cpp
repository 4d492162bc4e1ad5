#include "blip2/indexing/update_plan.h"

#include <cstddef>
#include <iterator>
#include <utility>

namespace blip2 {
namespace {

constexpr std::uint64_t kNoBytes = 0;
constexpr std::int64_t kNoTime = -1;

bool is_young(const WalkedFile& file, const PlanOptions& options) {
  return options.young_since && file.modified > *options.young_since &&
         file.modified <= options.now;
}

// Compares one file that is there with what is known of it.
void plan_file(const WalkedFile& file, const FileFacts* known, const PlanOptions& options,
               UpdatePlan& plan) {
  const bool same =
      known != nullptr && known->bytes == file.bytes && known->modified == file.modified;
  if (same) {
    plan.unchanged += known->picture.has_value();
  } else if (is_young(file, options)) {
    ++plan.young;
    plan.unchanged += known != nullptr && known->picture.has_value();
  } else {
    plan.read.push_back(file.path);
  }
}

// Whether what is below the place stays in the index.
bool keeps(const LostPlace& place, const PlanOptions& options) {
  return !options.remove_missing || place.kind == LostPlace::Kind::unreadable;
}

void plan_absent(const FileFacts& file, const PlanOptions& options, UpdatePlan& plan) {
  bool kept = false;
  for (LostFiles& lost : plan.lost) {
    if (!is_below(file.path, lost.place.path)) continue;
    lost.files += file.picture.has_value();
    kept = kept || keeps(lost.place, options);
  }
  if (!kept) plan.gone.push_back(file.path);
  if (kept) plan.unchanged += file.picture.has_value();
}

}  // namespace

UpdatePlan plan_update(const KnownFiles& known, const PictureWalk& walk,
                       const PlanOptions& options) {
  UpdatePlan plan;
  for (const LostPlace& place : walk.lost) plan.lost.push_back({place});
  auto next = known.begin();
  for (const WalkedFile& file : walk.files) {  // both are sorted by path
    for (; next != known.end() && next->first < file.path; ++next) {
      plan_absent(next->second, options, plan);
    }
    const bool found = next != known.end() && next->first == file.path;
    plan_file(file, found ? &next->second : nullptr, options, plan);
    if (found) ++next;
  }
  for (; next != known.end(); ++next) plan_absent(next->second, options, plan);
  return plan;
}

std::vector<std::string> with_sample_first(std::vector<std::string> paths, std::size_t count) {
  if (count == 0 || paths.size() <= count) return paths;
  std::vector<std::string> sample, rest;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const bool taken = i * count / paths.size() != (i + 1) * count / paths.size();
    (taken ? sample : rest).push_back(std::move(paths[i]));
  }
  sample.insert(sample.end(), std::make_move_iterator(rest.begin()),
                std::make_move_iterator(rest.end()));
  return sample;
}

FileFacts unopened_file(const std::string& path, const std::string& problem) {
  return {path, kNoBytes, kNoTime, std::nullopt, problem};
}

}  // namespace blip2

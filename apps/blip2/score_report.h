#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "blip2/evaluation/resampling.h"
#include "blip2/evaluation/score_set.h"
#include "blip2/evaluation/text_items.h"

namespace blip2 {

struct ScoreOptions {
  std::string task, results, references, against, scores, report, images, meteor_data, clip;
  bool partial = false, json = false;
  std::optional<double> bad_share;
  std::size_t samples = 1000;
  std::uint64_t seed = 0;

  TextTask text_task() const { return task == "vqa" ? TextTask::vqa : TextTask::caption; }
  Resampling resampling() const;
};

// A file's results beside their references, and their scores.
struct Scored {
  std::vector<TextPair> pairs;
  std::vector<std::vector<double>> clip = {};  // kClipNames of each pair; empty: no picture
  ScoreSet set = {};
};

// The name that the references give to the picture, or else the results; empty if neither does.
const std::string& picture_name(const TextPair& pair);

// The folders in which pictures are searched: the folder of the references, and --images.
std::vector<std::filesystem::path> picture_folders_of(const ScoreOptions& options);

// The index of the metric that the verdict and the report are about.
std::size_t main_metric(const ScoreSet& set);

// Writes a page of HTML: the metrics, all figures, and the best and worst answers. With --against
// the best answers are those that exceed the other file's answers by most, and both are shown.
void write_score_report(const ScoreOptions& options, const nlohmann::ordered_json& result,
                        const Scored& ours, const Scored* theirs);

}  // namespace blip2

#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "blip2/evaluation/resampling.h"
#include "blip2/evaluation/text_items.h"

namespace blip2 {

// The scores of a result file: the metrics' names, and each record's addends to the sums. The
// metrics of a single record's row are that record's scores.
struct ScoreSet {
  std::vector<std::string> names;
  RecordSums sums;
  MetricsOfSums metrics;
};

// "bleu_1" to "bleu_4", "rouge_l", "cider" and "cider_d" (caption_metrics.h), "exact", the share of
// captions that equal a reference, and, if its data are given, "meteor" (meteor_internal.h).
ScoreSet score_caption_pairs(std::span<const TextPair> pairs, std::size_t threads = 1,
                             const std::filesystem::path& meteor_data = {});

// Adds metrics that are means over the records with values. `values` has one row for each record,
// which has one value for each of `names` or is empty. The metrics of a record without values, and
// of a set of such records, are NaN.
void add_means(ScoreSet& set, const std::vector<std::string>& names,
               std::span<const std::vector<double>> values);

// "accuracy" (vqa_accuracy.h), overall and for each answer type that the references name.
ScoreSet score_answer_pairs(std::span<const TextPair> pairs);

}  // namespace blip2

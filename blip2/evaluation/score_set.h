#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "blip2/evaluation/resampling.h"
#include "blip2/evaluation/text_items.h"

namespace blip2 {

// A result file's scores: its metrics' names, and what each record adds to them. The metrics of one
// record's row are that record's scores.
struct ScoreSet {
  std::vector<std::string> names;
  RecordSums sums;
  MetricsOfSums metrics;
};

// "bleu_1" to "bleu_4", "rouge_l", "cider" and "cider_d" (caption_metrics.h), "exact", the share of
// captions that equal a reference, and, if its data are given, "meteor" (meteor.h).
ScoreSet score_caption_pairs(std::span<const TextPair> pairs, std::size_t threads = 1,
                             const std::filesystem::path& meteor_data = {});

// Adds metrics that are means over the records that have values: `values` holds one row a record,
// as long as `names`, or empty. Of a record without values, and of a set of such, they are NaN.
void add_means(ScoreSet& set, const std::vector<std::string>& names,
               std::span<const std::vector<double>> values);

// "accuracy" (vqa_accuracy.h), and the same for each answer type that the references name.
ScoreSet score_answer_pairs(std::span<const TextPair> pairs);

}  // namespace blip2

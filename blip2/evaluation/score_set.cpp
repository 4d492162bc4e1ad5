#include "blip2/evaluation/score_set.h"

#include <algorithm>
#include <utility>

#include "blip2/evaluation/caption_metrics.h"
#include "blip2/evaluation/exact_match.h"
#include "blip2/evaluation/meteor_internal.h"
#include "blip2/evaluation/vqa_accuracy.h"

namespace blip2 {
namespace {

// A row: 1, the two lengths, n-grams and right ones by order, then those that are averaged, then
// METEOR's counts if there are any.
constexpr std::size_t kNgramsAt = 3, kRightAt = kNgramsAt + kNgramOrders,
                      kMeansAt = kRightAt + kNgramOrders, kMeans = 4, kMeteorAt = kMeansAt + kMeans,
                      kMeteorStageAt = kMeteorAt + 5, kMeteorWidth = 5 + 4 * kMeteorStages;

void append(const MeteorCounts& counts, std::vector<double>& row) {
  row.insert(row.end(), {counts.candidate, counts.reference, counts.candidate_function,
                         counts.reference_function, counts.chunks});
  for (const MeteorCounts::Stage& stage : counts.stages) {
    row.insert(row.end(), {stage.candidate, stage.reference, stage.candidate_function,
                           stage.reference_function});
  }
}

MeteorCounts meteor_counts(std::span<const double> sums) {
  MeteorCounts counts{
      sums[kMeteorAt],    sums[kMeteorAt + 1], sums[kMeteorAt + 2], sums[kMeteorAt + 3], {},
      sums[kMeteorAt + 4]};
  for (std::size_t i = 0; i < kMeteorStages; ++i) {
    const auto stage = sums.subspan(kMeteorStageAt + 4 * i, 4);
    counts.stages[i] = {stage[0], stage[1], stage[2], stage[3]};
  }
  return counts;
}

std::vector<double> caption_metrics(std::span<const double> sums) {
  BleuCounts bleu{.length = sums[1], .reference_length = sums[2]};
  for (std::size_t n = 0; n < kNgramOrders; ++n) {
    bleu.ngrams[n] = sums[kNgramsAt + n];
    bleu.right[n] = sums[kRightAt + n];
  }
  const auto scores = bleu.scores();
  std::vector<double> metrics(scores.begin(), scores.end());
  for (std::size_t i = 0; i < kMeans; ++i) metrics.push_back(sums[kMeansAt + i] / sums[0]);
  if (sums.size() > kMeteorAt) metrics.push_back(meteor_of(meteor_counts(sums)));
  return metrics;
}

// Of pairs (records, sum): the mean of each, 0 where there are no records.
std::vector<double> means_of(std::span<const double> sums) {
  std::vector<double> means;
  for (std::size_t i = 0; i + 1 < sums.size(); i += 2) {
    means.push_back(sums[i] > 0 ? sums[i + 1] / sums[i] : 0);
  }
  return means;
}

}  // namespace

ScoreSet score_caption_pairs(std::span<const TextPair> pairs, std::size_t threads,
                             const std::filesystem::path& meteor_data) {
  std::vector<std::string> candidates;
  std::vector<CaptionTexts> references;
  for (const TextPair& pair : pairs) {
    candidates.push_back(pair.result->texts[0]);
    references.push_back(pair.reference->texts);
  }
  const TokenisedCaptions tokenised(candidates, references, threads);
  const auto scores = score_captions(tokenised.candidates(), tokenised.references(), threads);
  ScoreSet set{{"bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider", "cider_d", "exact"},
               {kMeteorAt, {}},
               caption_metrics};
  std::vector<MeteorCounts> meteor;
  if (!meteor_data.empty()) {
    meteor = count_meteor(tokenised.candidates(), tokenised.references(), meteor_data, threads);
    set.names.emplace_back("meteor");
    set.sums.width += kMeteorWidth;
  }
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const BleuCounts& bleu = scores[i].bleu;
    auto& values = set.sums.values;
    values.insert(values.end(), {1, bleu.length, bleu.reference_length});
    values.insert(values.end(), bleu.ngrams.begin(), bleu.ngrams.end());
    values.insert(values.end(), bleu.right.begin(), bleu.right.end());
    const double exact = equals_any(candidates[i], references[i]) ? 1 : 0;
    values.insert(values.end(), {scores[i].rouge_l, scores[i].cider, scores[i].cider_d, exact});
    if (!meteor.empty()) append(meteor[i], values);
  }
  return set;
}

void add_means(ScoreSet& set, const std::vector<std::string>& names,
               std::span<const std::vector<double>> values) {
  const std::size_t before = set.sums.width;
  RecordSums wider{before + 1 + names.size(), {}};
  for (std::size_t i = 0; i < set.sums.records(); ++i) {
    const auto row = set.sums.row(i);
    wider.values.insert(wider.values.end(), row.begin(), row.end());
    wider.values.push_back(values[i].empty() ? 0 : 1);
    wider.values.insert(wider.values.end(), values[i].begin(), values[i].end());
    wider.values.resize((i + 1) * wider.width);
  }
  set.names.insert(set.names.end(), names.begin(), names.end());
  set.sums = std::move(wider);
  set.metrics = [before, inner = std::move(set.metrics)](std::span<const double> sums) {
    std::vector<double> metrics = inner(sums.first(before));
    for (std::size_t i = before + 1; i < sums.size(); ++i) {
      metrics.push_back(sums[i] / sums[before]);  // 0 / 0 if no record has values
    }
    return metrics;
  };
}

ScoreSet score_answer_pairs(std::span<const TextPair> pairs) {
  const auto type_of = [](const TextPair& pair) {
    const auto found = pair.reference->kinds.find("answer_type");
    return found == pair.reference->kinds.end() ? std::string() : found->second;
  };
  std::vector<std::string> kinds;
  for (const TextPair& pair : pairs) {
    const std::string kind = type_of(pair);
    const bool known = std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
    if (!kind.empty() && !known) kinds.push_back(kind);
  }
  std::sort(kinds.begin(), kinds.end());
  ScoreSet set{{"accuracy"}, {2 + 2 * kinds.size(), {}}, means_of};
  set.names.insert(set.names.end(), kinds.begin(), kinds.end());
  for (const TextPair& pair : pairs) {
    const double accuracy = vqa_accuracy(pair.result->texts[0], pair.reference->texts);
    set.sums.values.insert(set.sums.values.end(), {1, accuracy});
    const std::string own = type_of(pair);
    for (const std::string& kind : kinds) {
      const double mine = kind == own ? 1 : 0;
      set.sums.values.insert(set.sums.values.end(), {mine, mine * accuracy});
    }
  }
  return set;
}

}  // namespace blip2

#include "blip2/answers/answer_scores.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "blip2/base/error.h"
#include "blip2/evaluation/caption_hits.h"
#include "blip2/evaluation/caption_metrics.h"
#include "blip2/evaluation/exact_match.h"
#include "blip2/evaluation/kind_scores.h"
#include "blip2/evaluation/lemmas.h"
#include "blip2/evaluation/resampling.h"
#include "blip2/evaluation/vqa_accuracy.h"

namespace blip2 {
namespace {

using nlohmann::ordered_json;

// Adds the means of the CLIPScores with their bootstrap intervals, if all answers have some.
void add_clip_means(std::span<const RecordAnswer> answers, std::span<const std::size_t> places,
                    ordered_json& out) {
  RecordSums sums{1 + kClipNames.size(), {}};
  for (const std::size_t i : places) {
    if (!answers[i].clip) return;
    sums.values.insert(sums.values.end(),
                       {1, answers[i].clip->clipscore, answers[i].clip->refclipscore});
  }
  const auto means = [](std::span<const double> total) {
    return std::vector{total[1] / total[0], total[2] / total[0]};
  };
  const std::vector<double> values = metrics_of(sums, means);
  const std::vector<Interval> intervals = bootstrap_intervals(sums, means, {});
  for (std::size_t m = 0; m < kClipNames.size(); ++m) {
    out[kClipNames[m]] = values[m];
    out[fmt::format("{}_interval", kClipNames[m])] = {intervals[m].low, intervals[m].high};
  }
}

// The metrics of the captions at some places as one set; sets their CIDEr.
ordered_json score_some(std::span<const Record> records, std::span<RecordAnswer> answers,
                        std::span<const std::size_t> places) {
  std::vector<std::string> candidates;
  std::vector<CaptionTexts> references;
  std::size_t hits = 0, exact = 0;
  for (const std::size_t i : places) {
    candidates.push_back(answers[i].text);
    references.emplace_back(records[i].captions);
    hits += answers[i].hit.value_or(false);
    exact += equals_any(answers[i].text, records[i].captions);
  }
  const auto count = static_cast<double>(places.size());
  const Interval interval = wilson_interval(hits, places.size());
  const std::vector<CaptionScore> each = score_texts(candidates, references);
  for (std::size_t i = 0; i < each.size(); ++i) answers[places[i]].score = each[i].cider;
  const CaptionScores scores = summarise(each);
  ordered_json out{{"exact", static_cast<double>(exact) / count},
                   {"bleu", scores.bleu},
                   {"rouge_l", scores.rouge_l},
                   {"cider", scores.cider},
                   {"cider_d", scores.cider_d},
                   {"hits", static_cast<double>(hits) / count},
                   {"hits_interval", {interval.low, interval.high}}};
  add_clip_means(answers, places, out);
  out["captions"] = places.size();
  return out;
}

}  // namespace

void mark_hits(std::span<const Record> records, std::span<RecordAnswer> answers,
               const std::vector<std::string>& generic_words) {
  std::vector<std::string> generic;
  for (const std::string& word : generic_words) {
    for (std::string& lemma : lemmas_of(word)) generic.push_back(std::move(lemma));
  }
  for (std::size_t i = 0; i < records.size(); ++i) {
    const Record& record = records[i];
    answers[i].hit = is_hit(answers[i].text, first_text(record.captions), record.keywords, generic);
  }
}

void mark_clip_scores(std::span<const Record> records, std::span<RecordAnswer> answers,
                      const ScoreByClip& clip) {
  std::vector<ClipItem> items;
  for (std::size_t i = 0; i < records.size(); ++i) {
    items.push_back({records[i].image, answers[i].text, records[i].captions});
  }
  const std::vector<ClipResult> results = clip(items);
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (!results[i].failure.empty()) throw Error(results[i].failure, "--clip");
    answers[i].clip = results[i].score;
  }
}

ordered_json score_captions(std::span<const Record> records, std::span<RecordAnswer> answers) {
  std::map<std::string, std::vector<std::size_t>> domains;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto found = records[i].kinds.find("domain");
    if (found != records[i].kinds.end()) domains[found->second].push_back(i);
  }
  ordered_json parts = ordered_json::object();
  for (const auto& [domain, places] : domains) {
    parts["domain"][domain] = score_some(records, answers, places);
  }
  std::vector<std::size_t> all(records.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  // Last, so that the answers keep the CIDEr by the document frequencies of all records.
  ordered_json result = score_some(records, answers, all);
  if (!parts.empty()) result["by_kind"] = parts;
  return result;
}

ordered_json score_questions(std::span<const Record> records, std::span<RecordAnswer> answers) {
  KindScores kinds;
  double sum = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const double accuracy = vqa_accuracy(answers[i].text, records[i].answers);
    answers[i].score = accuracy;
    kinds.add(records[i].kinds, accuracy);
    sum += accuracy;
  }
  ordered_json result{{"accuracy", sum / static_cast<double>(records.size())},
                      {"questions", records.size()}};
  if (!kinds.empty()) result["by_kind"] = kinds.to_json();
  return result;
}

}  // namespace blip2

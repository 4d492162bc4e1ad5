#include "blip2/answers/answer_scores.h"

#include <nlohmann/json.hpp>

#include "blip2/evaluation/caption_hits.h"
#include "blip2/evaluation/caption_metrics.h"
#include "blip2/evaluation/exact_match.h"
#include "blip2/evaluation/kind_scores.h"
#include "blip2/evaluation/lemmas.h"
#include "blip2/evaluation/vqa_accuracy.h"

namespace blip2 {

using nlohmann::ordered_json;

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

ordered_json score_captions(std::span<const Record> records, std::span<RecordAnswer> answers) {
  std::vector<std::string> candidates;
  std::vector<CaptionTexts> references;
  std::size_t hits = 0, exact = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    candidates.push_back(answers[i].text);
    references.emplace_back(records[i].captions);
    hits += answers[i].hit.value_or(false);
    exact += equals_any(answers[i].text, records[i].captions);
  }
  const Interval interval = wilson_interval(hits, records.size());
  const std::vector<CaptionScore> each = score_texts(candidates, references);
  for (std::size_t i = 0; i < each.size(); ++i) answers[i].score = each[i].cider;
  const CaptionScores scores = summarise(each);
  const auto count = static_cast<double>(records.size());
  return {{"exact", static_cast<double>(exact) / count},
          {"bleu", scores.bleu},
          {"rouge_l", scores.rouge_l},
          {"cider", scores.cider},
          {"cider_d", scores.cider_d},
          {"hits", static_cast<double>(hits) / count},
          {"hits_interval", {interval.low, interval.high}},
          {"captions", records.size()}};
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

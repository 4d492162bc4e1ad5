// evaluation captions|answers|tokens|stems FILE.json, evaluation meteor FILE.json DATA: for
// {"candidates", "references"} the caption scores of each and all, for [[answer, right answers], …]
// the accuracies and normal forms, for [caption, …] the tokenised captions, for [word, …] the
// stems, for {"candidates", "references"} METEOR's scores of each and all, as JSON on standard
// output.
#include <iostream>
#include <string>
#include <vector>

#include "blip2/evaluation/caption_metrics.h"
#include "blip2/evaluation/caption_tokens.h"
#include "blip2/evaluation/english_stemmer_internal.h"
#include "blip2/evaluation/meteor_internal.h"
#include "blip2/evaluation/meteor_words_internal.h"
#include "blip2/evaluation/vqa_accuracy.h"
#include "blip2/io/json.h"
#include "blip2/text/unicode.h"

namespace {

nlohmann::json shown(const blip2::CaptionScores& scores) {
  return {{"bleu", scores.bleu},
          {"rouge_l", scores.rouge_l},
          {"cider", scores.cider},
          {"cider_d", scores.cider_d}};
}

nlohmann::json score_captions(const nlohmann::json& file) {
  const auto candidates = file["candidates"].get<std::vector<std::string>>();
  const auto references = file["references"].get<std::vector<std::vector<std::string>>>();
  const std::vector<blip2::CaptionTexts> texts(references.begin(), references.end());
  const auto scores = blip2::score_texts(candidates, texts);
  nlohmann::json each = nlohmann::json::array();
  for (const blip2::CaptionScore& score : scores) {
    each.push_back(shown({score.bleu.scores(), score.rouge_l, score.cider, score.cider_d}));
  }
  return {{"all", shown(blip2::summarise(scores))}, {"each", each}};
}

nlohmann::json score_answers(const nlohmann::json& file) {
  nlohmann::json results = nlohmann::json::array();
  for (const auto& [answer, right] :
       file.get<std::vector<std::pair<std::string, std::vector<std::string>>>>()) {
    results.push_back({blip2::vqa_accuracy(answer, right), blip2::normalise_vqa_answer(answer)});
  }
  return results;
}

nlohmann::json score_meteor(const nlohmann::json& file, const char* data) {
  const auto candidates = file["candidates"].get<std::vector<std::string>>();
  const auto references = file["references"].get<std::vector<std::vector<std::string>>>();
  const std::vector<blip2::CaptionTexts> texts(references.begin(), references.end());
  constexpr std::size_t kThreads = 2;
  nlohmann::json each = nlohmann::json::array();
  blip2::MeteorCounts all;
  for (const blip2::MeteorCounts& counts : blip2::count_meteor(candidates, texts, data, kThreads)) {
    each.push_back(blip2::meteor_of(counts));
    all += counts;
  }
  return {{"all", blip2::meteor_of(all)}, {"each", each}};
}

nlohmann::json stems_of(const nlohmann::json& file) {
  nlohmann::json stems = nlohmann::json::array();
  for (const auto& word : file) {
    std::string stem;
    for (const char16_t c : blip2::english_stem(blip2::to_utf16(word.get<std::string>()))) {
      blip2::append_utf8(stem, c);
    }
    stems.push_back(stem);
  }
  return stems;
}

}  // namespace

int main(int, char** argv) {
  const nlohmann::json file = blip2::read_json(argv[2]);
  const std::string what = argv[1];
  if (what == "captions") {
    std::cout << score_captions(file);
  } else if (what == "tokens") {
    const auto captions = file.get<std::vector<std::string>>();
    const std::vector<std::string_view> views(captions.begin(), captions.end());
    constexpr std::size_t kThreads = 3;  // the parts must fit together
    std::cout << nlohmann::json(blip2::tokenise_captions(views, kThreads));
  } else if (what == "meteor") {
    std::cout << score_meteor(file, argv[3]);
  } else if (what == "stems") {
    std::cout << stems_of(file);
  } else {
    std::cout << score_answers(file);
  }
  return 0;
}

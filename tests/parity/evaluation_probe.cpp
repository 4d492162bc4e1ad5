// evaluation captions|answers|tokens FILE.json: for {"candidates", "references"} the caption scores
// of each and all, for [[answer, right answers], …] the accuracies and normal forms, for [caption,
// …] the tokenised captions, as JSON on standard output.
#include <iostream>
#include <string>
#include <vector>

#include "blip2/evaluation/caption_metrics.h"
#include "blip2/evaluation/caption_tokens.h"
#include "blip2/evaluation/vqa_accuracy.h"
#include "blip2/io/json.h"

namespace {

nlohmann::json shown(const blip2::CaptionScores& scores) {
  return {{"bleu", scores.bleu}, {"rouge_l", scores.rouge_l}, {"cider", scores.cider}};
}

nlohmann::json score_captions(const nlohmann::json& file) {
  const auto candidates = file["candidates"].get<std::vector<std::string>>();
  const auto references = file["references"].get<std::vector<std::vector<std::string>>>();
  const std::vector<blip2::CaptionTexts> texts(references.begin(), references.end());
  const auto scores = blip2::score_texts(candidates, texts);
  nlohmann::json each = nlohmann::json::array();
  for (const blip2::CaptionScore& score : scores) {
    each.push_back(shown({score.bleu.scores(), score.rouge_l, score.cider}));
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
  } else {
    std::cout << score_answers(file);
  }
  return 0;
}

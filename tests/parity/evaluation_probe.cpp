// evaluation captions|answers FILE.json: caption scores of {"candidates", "references"}, or the
// accuracies and normal forms of [[answer, right answers], …], as JSON on standard output.
#include <iostream>
#include <string>
#include <vector>

#include "blip2/evaluation/caption_metrics.h"
#include "blip2/evaluation/vqa_accuracy.h"
#include "blip2/io/json.h"

namespace {

nlohmann::json score_captions(const nlohmann::json& file) {
  const auto candidates = file["candidates"].get<std::vector<std::string>>();
  const auto references = file["references"].get<std::vector<std::vector<std::string>>>();
  const blip2::CaptionScores scores = blip2::score_captions(candidates, references);
  return {{"bleu", scores.bleu}, {"rouge_l", scores.rouge_l}, {"cider", scores.cider}};
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
  std::cout << (argv[1] == std::string("captions") ? score_captions(file) : score_answers(file));
  return 0;
}

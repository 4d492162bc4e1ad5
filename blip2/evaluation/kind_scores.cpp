#include "blip2/evaluation/kind_scores.h"

#include <nlohmann/json.hpp>

namespace blip2 {

void KindScores::add(const QuestionKinds& kinds, double accuracy) {
  for (const auto& [field, kind] : kinds) {
    Sum& sum = sums_[field][kind];
    sum.accuracy += accuracy;
    ++sum.questions;
  }
}

nlohmann::ordered_json KindScores::to_json() const {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (const auto& [field, kinds] : sums_) {
    for (const auto& [kind, sum] : kinds) {
      out[field][kind] = {{"accuracy", sum.accuracy / static_cast<double>(sum.questions)},
                          {"questions", sum.questions}};
    }
  }
  return out;
}

}  // namespace blip2

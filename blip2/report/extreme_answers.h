#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "blip2/report/html_report.h"

namespace blip2 {

// One record of a report: the answer with its context, and its score.
struct ScoredAnswer {
  double score = 0;
  std::vector<std::string> lines;  // question, answer, right answer
};

// Adds the `most` best and the `most` worst answers to a report, with their scores and pictures; of
// equal answers the first ones are taken. No answer is both among the best and the worst.
// `picture_of`: gives the bytes of a record's picture file, empty if the file is missing.
void add_extreme_answers(HtmlReport& report, std::span<const ScoredAnswer> answers,
                         const std::string& score_name, std::size_t most,
                         const std::function<std::string(std::size_t)>& picture_of);

}  // namespace blip2

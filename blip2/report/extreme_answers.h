#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "blip2/report/html_report.h"

namespace blip2 {

// One record of a report: what was said of it, and how good that is.
struct ScoredAnswer {
  double score = 0;
  std::vector<std::string> lines;  // question, answer, right answer
};

// Adds the best and the worst answers to a report, `most` of each, with their scores and pictures;
// of equal ones those that come first. An answer is among the best or the worst, not both.
// `picture_of`: a record's picture as a file's bytes, empty if it is not there.
void add_extreme_answers(HtmlReport& report, std::span<const ScoredAnswer> answers,
                         const std::string& score_name, std::size_t most,
                         const std::function<std::string(std::size_t)>& picture_of);

}  // namespace blip2

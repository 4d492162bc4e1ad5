#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/data/records.h"
#include "blip2/evaluation/clip_score.h"

namespace blip2 {

// What the model says of a record.
struct EvalAnswer {
  std::string text;
  std::string failure = {};                // why the picture cannot be read
  std::optional<double> probability = {};  // of a chosen caption
  std::optional<bool> hit = {};            // of a caption, see is_hit()
  std::optional<ClipScore> clip = {};      // of a caption, if it is asked for
  double score = 0;                        // of a caption its CIDEr, of an answer its accuracy
};

// One JSON object a record, atomically: image, what was asked, text, references, its scores and its
// probability where there is one.
void write_eval_results(const std::string& path, std::span<const Record> records,
                        std::span<const EvalAnswer> answers);

// HTML: the result, the best and the worst answers, and the first records as pictures with the
// answer, the right one and whether they agree. `intro` says which model and data.
void write_eval_report(const std::string& path, const std::string& task, const std::string& intro,
                       const nlohmann::ordered_json& result, std::span<const Record> records,
                       std::span<const EvalAnswer> answers);

}  // namespace blip2

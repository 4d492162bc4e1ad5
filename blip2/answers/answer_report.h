#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "blip2/answers/record_answers.h"

namespace blip2 {

// One JSON object a record, atomically: image, what was asked, text, references, its scores and its
// probability where there is one.
void write_answer_lines(const std::string& path, std::span<const Record> records,
                        std::span<const RecordAnswer> answers);

// HTML: the result, the best and the worst answers, and the first records as pictures with the
// answer, the right one and whether they agree. `intro` says which model and data.
void write_answer_report(const std::string& path, const std::string& task, const std::string& intro,
                         const nlohmann::ordered_json& result, std::span<const Record> records,
                         std::span<const RecordAnswer> answers);

}  // namespace blip2

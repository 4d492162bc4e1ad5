#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace blip2 {

// What benchmarks say of a question's kind, by field: "answer_type" and "question_type" (VQAv2,
// OK-VQA), "structural", "semantic" and "detailed" (GQA, where they lie under "types").
using QuestionKinds = std::map<std::string, std::string>;

// The kinds that a question's entry has; fields of other types than text are passed over.
QuestionKinds question_kinds(const nlohmann::json& entry);

}  // namespace blip2

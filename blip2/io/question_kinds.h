#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace blip2 {

// The kinds that benchmarks give a question, by field: "answer_type" and "question_type" (VQAv2,
// OK-VQA), "structural", "semantic" and "detailed" (GQA, where they lie under "types").
// Of pictures: "domain", NoCaps' parts in, near and out of COCO's domain.
using QuestionKinds = std::map<std::string, std::string>;

// The kinds in a question's entry; fields whose value is not a text are skipped.
QuestionKinds question_kinds(const nlohmann::json& entry);
// The same of a picture's entry, or of one of its captions.
QuestionKinds picture_kinds(const nlohmann::json& entry);

}  // namespace blip2

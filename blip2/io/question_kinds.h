#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace blip2 {

// What benchmarks say of a question's kind, by field: "answer_type" and "question_type" (VQAv2,
// OK-VQA), "structural", "semantic" and "detailed" (GQA, where they lie under "types").
// Of pictures: "domain", NoCaps' parts in, near and out of COCO's domain.
using QuestionKinds = std::map<std::string, std::string>;

// The kinds that a question's entry has; fields of other types than text are passed over.
QuestionKinds question_kinds(const nlohmann::json& entry);
// The same of a picture's entry, or of one of its captions.
QuestionKinds picture_kinds(const nlohmann::json& entry);

}  // namespace blip2

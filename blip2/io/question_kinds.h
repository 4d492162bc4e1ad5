#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace blip2 {

// The kinds that benchmarks give a question, by field: "answer_type" and "question_type" (VQAv2,
// OK-VQA), "structural", "semantic" and "detailed" (GQA, where they lie under "types").
// Pictures have one kind: "domain", which says whether NoCaps has them in, near or out of COCO's
// domain.
using QuestionKinds = std::map<std::string, std::string>;

// The kinds in a question's entry; fields whose value is not a text are skipped.
QuestionKinds question_kinds(const nlohmann::json& entry);
// The kinds that the entry of a picture, or of one of its captions, has.
QuestionKinds picture_kinds(const nlohmann::json& entry);

}  // namespace blip2

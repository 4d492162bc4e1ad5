#include "blip2/io/question_kinds.h"

#include <initializer_list>
#include <nlohmann/json.hpp>

namespace blip2 {
namespace {

void add_fields(const nlohmann::json& object, std::initializer_list<const char*> fields,
                QuestionKinds& kinds) {
  for (const char* field : fields) {
    const auto found = object.find(field);
    if (found == object.end() || !found->is_string()) continue;
    const std::string& kind = found->get_ref<const std::string&>();
    if (!kind.empty()) kinds.emplace(field, kind);
  }
}

}  // namespace

QuestionKinds question_kinds(const nlohmann::json& entry) {
  QuestionKinds kinds;
  if (!entry.is_object()) return kinds;
  add_fields(entry, {"answer_type", "question_type"}, kinds);
  const auto types = entry.find("types");
  if (types != entry.end() && types->is_object()) {
    add_fields(*types, {"structural", "semantic", "detailed"}, kinds);
  }
  return kinds;
}

QuestionKinds picture_kinds(const nlohmann::json& entry) {
  QuestionKinds kinds;
  if (entry.is_object()) add_fields(entry, {"domain"}, kinds);
  return kinds;
}

}  // namespace blip2

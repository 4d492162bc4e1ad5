#include "blip2/data/record_fields_internal.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/nearest.h"

namespace blip2 {

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\f\v", kMark = "\xEF\xBB\xBF";
  if (text.starts_with(kMark)) text.remove_prefix(kMark.size());
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::string extension_of(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  if (!extension.empty()) extension.erase(0, 1);
  for (char& c : extension) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return extension;
}

void refuse(std::string what, std::string hint) {
  throw Error(std::move(what), {}, std::move(hint));
}

std::string text_or_blank_of(const nlohmann::json& value, std::string_view key) {
  return std::string(trim(text_value(value, key)));
}

namespace {

bool all_blank(const std::vector<std::string>& texts) {
  return std::all_of(texts.begin(), texts.end(), [](const auto& text) { return text.empty(); });
}

}  // namespace

std::string text_of(const nlohmann::json& value, std::string_view key) {
  std::string text = text_or_blank_of(value, key);
  if (text.empty()) refuse(fmt::format("\"{}\" is empty", key));
  return text;
}

std::vector<std::string> texts_of(const nlohmann::json& object,
                                  std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const nlohmann::json* found = find_member(object, {key});
    if (!found) continue;
    if (!found->is_array()) return {text_of(*found, key)};
    if (found->empty()) refuse(fmt::format("\"{}\" is an empty list", key));
    std::vector<std::string> texts;
    for (const auto& item : *found) texts.push_back(text_or_blank_of(item, key));
    if (all_blank(texts)) refuse(fmt::format("\"{}\" is empty: all its texts are blank", key));
    return texts;
  }
  return {};
}

void refuse_missing(const nlohmann::json& object, const char* expected) {
  const std::vector<std::string> known{"image",    "file_name", "caption", "captions", "text",
                                       "question", "answer",    "answers", "image_id", "keywords"};
  std::vector<std::string> got;
  std::string hint;
  for (const auto& [key, value] : object.items()) {
    got.push_back(key.substr(0, 40));
    const bool is_known = std::find(known.begin(), known.end(), key) != known.end();
    const std::string near = is_known ? "" : nearest_match(key, known);
    if (!near.empty()) hint = fmt::format("did you mean \"{}\" by \"{}\"?", near, got.back());
  }
  refuse(fmt::format("expected {}, got the keys [{}]", expected, fmt::join(got, ", ")), hint);
}

const nlohmann::json& value_of(const nlohmann::json& object, const char* key) {
  if (!object.is_object()) refuse(fmt::format("expected an object, got {}", shown(object)));
  const auto found = object.find(key);
  if (found == object.end()) refuse_missing(object, fmt::format("a key \"{}\"", key).c_str());
  return *found;
}

std::string id_of(const nlohmann::json& object, const char* key) {
  const nlohmann::json& value = value_of(object, key);
  const std::string number = whole_number(value);
  return number.empty() ? text_of(value, key) : number;
}

std::string image_id_of(const nlohmann::json& object, const std::string& otherwise) {
  return find_member(object, {"image_id"}) ? id_of(object, "image_id") : otherwise;
}

std::string question_id_of(const nlohmann::json& object) {
  return find_member(object, {"question_id"}) ? id_of(object, "question_id") : "";
}

void leave_out_blanks(Record& record) {
  if (record.captions.empty()) return;
  record.blanks = std::erase(record.captions, "");
  if (record.captions.empty()) refuse("all its captions are blank");
}

namespace {

// "keywords", a list of texts, without blank ones; empty if it is not there or null.
std::vector<std::string> keywords_of(const nlohmann::json& object) {
  const nlohmann::json* found = find_member(object, {"keywords"});
  if (!found) return {};
  if (!found->is_array()) {
    refuse(fmt::format("\"keywords\": expected a list of texts, got {}", shown(*found)));
  }
  std::vector<std::string> keywords;
  for (const auto& item : *found) {
    const bool blank = item.is_string() && trim(item.get_ref<const std::string&>()).empty();
    if (!blank) keywords.push_back(text_of(item, "keywords"));
  }
  return keywords;
}

}  // namespace

void read_texts(Record& record, const nlohmann::json& object, RecordUse use,
                const std::string& column) {
  record.keywords = keywords_of(object);
  record.kinds = picture_kinds(object);
  if (!column.empty()) {
    record.captions = texts_of(object, {column.c_str()});
    if (record.captions.empty() && use != RecordUse::pictures) {
      refuse_missing(object, fmt::format("a text under \"{}\"", column).c_str());
    }
    return leave_out_blanks(record);
  }
  record.captions = texts_of(object, {"caption", "captions"});
  if (const nlohmann::json* question = find_member(object, {"question"})) {
    record.question = text_of(*question, "question");
    record.question_id = question_id_of(object);
    record.kinds = question_kinds(object);
  }
  if (!record.is_question() && record.captions.empty()) {
    record.captions = texts_of(object, {"text"});
  }
  leave_out_blanks(record);
  record.answers = texts_of(object, {"answer", "answers"});
  if (record.is_question() && !record.captions.empty()) {
    refuse("expected a caption or a question, got both", "make two lines of it");
  }
  if (use == RecordUse::pictures) return;
  if (!record.is_question() && record.captions.empty()) {
    refuse_missing(object, "\"caption\" or \"question\"");
  }
  if (use == RecordUse::train && record.is_question() && record.answers.empty()) {
    refuse_missing(object, "\"answer\" beside \"question\"");
  }
}

}  // namespace blip2

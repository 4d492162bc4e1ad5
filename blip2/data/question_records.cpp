#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/data/record_readers_internal.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

struct GivenAnswers {
  std::vector<std::string> answers;
  QuestionKinds kinds;
};
using Answers = std::unordered_map<std::string, GivenAnswers>;

// "v2_OpenEnded_mscoco_train2014_questions.json" -> "v2_mscoco_train2014_annotations.json"
fs::path annotations_beside(const fs::path& questions) {
  std::string name = questions.filename().string();
  const auto replace = [&](std::string_view from, std::string_view to) {
    const std::size_t at = name.find(from);
    if (at != std::string::npos) name.replace(at, from.size(), to);
  };
  replace("OpenEnded_", "");
  replace("questions", "annotations");
  return questions.parent_path() / name;
}

// The answers by question; nothing where none are needed and there is no file of them.
Answers read_answers(const RecordReading& reading) {
  const auto chosen = reading.source.path_option("annotations");
  const fs::path path = chosen.value_or(annotations_beside(reading.source.path));
  Answers answers;
  std::error_code ignored;
  const bool there = path != reading.source.path && fs::exists(path, ignored);
  if (!there && !chosen && reading.use != RecordUse::train) return answers;
  if (!there) {
    throw Error("cannot find the answers of " + reading.source.path.filename().string(),
                path.string(), "say where they are: ?annotations=FILE");
  }
  const auto file = MappedFile::open(path);
  const auto members = members_of(text_in(*file), path.string());
  const auto list = members.find("annotations");
  if (list == members.end()) throw Error("expected a list \"annotations\"", path.string());
  const DataSource source{reading.source.kind, path, {}};
  for_each_element(
      {source, reading.use, reading.file}, list->second,
      [&](const nlohmann::json& object, const JsonElement&) {
        std::vector<std::string> mine;
        const nlohmann::json& given = value_of(object, "answers");
        if (!given.is_array()) refuse("\"answers\": expected a list");
        for (const auto& answer : given) {
          mine.push_back(text_or_blank_of(value_of(answer, "answer"), "answer"));
        }
        answers[id_of(object, "question_id")] = {std::move(mine), question_kinds(object)};
      });
  return answers;
}

void require_answer(const std::vector<std::string>& answers) {
  if (answers.empty()) refuse("has no answer in the annotations");
  const auto is_blank = [](const std::string& answer) { return answer.empty(); };
  if (std::all_of(answers.begin(), answers.end(), is_blank)) refuse("all its answers are blank");
}

std::string subtype_of(const std::map<std::string, JsonElement>& members) {
  const auto found = members.find("data_subtype");
  if (found == members.end()) return {};
  const nlohmann::json value = parse_json(found->second.text, {}, kRecordLimits);
  // The questions of test-dev are about the pictures of test2015.
  if (!value.is_string()) return {};
  return value == "test-dev2015" ? "test2015" : value.get<std::string>();
}

Record vqa_record(const nlohmann::json& object, const std::string& subtype,
                  PictureFinder& pictures) {
  Record record;
  const std::string id = id_of(object, "image_id");
  record.image = pictures.find(fmt::format("COCO_{}_{:0>12}.jpg", subtype, id),
                               {fmt::format("{:0>12}.jpg", id), id + ".jpg"});
  record.image_id = "coco:" + id;
  record.question = text_of(value_of(object, "question"), "question");
  return record;
}

// The regions' phrases of a Visual Genome picture as its captions.
void add_regions(const nlohmann::json& regions, Record record, const RecordReading& reading) {
  if (!regions.is_array() || regions.empty()) refuse("\"regions\": expected a list of some");
  for (const auto& region : regions) {
    record.captions.push_back(text_or_blank_of(value_of(region, "phrase"), "phrase"));
  }
  leave_out_blanks(record);
  reading.file.records.push_back(std::move(record));
}

// Each question about a Visual Genome picture as a record. A bad one costs only itself.
void add_questions(const nlohmann::json& questions, const Record& picture,
                   const RecordReading& reading) {
  if (!questions.is_array()) refuse("\"qas\": expected a list");
  for (std::size_t i = 0; i < questions.size(); ++i) {
    try {
      Record record = picture;
      record.question = text_of(value_of(questions[i], "question"), "question");
      record.answers = {text_or_blank_of(value_of(questions[i], "answer"), "answer")};
      std::erase(record.answers, "");
      if (reading.use == RecordUse::train && record.answers.empty()) refuse("\"answer\" is empty");
      reading.file.records.push_back(std::move(record));
    } catch (const Error& error) {
      reading.file.bad.push_back(
          {picture.line, error.what(),
           fmt::format("{}: entry {}, question {}", reading.source.path.filename().string(),
                       picture.line, i + 1)});
    }
  }
}

}  // namespace

void read_vqav2_records(const RecordReading& reading) {
  const auto file = MappedFile::open(reading.source.path);
  const auto members = members_of(text_in(*file), reading.source.path.string());
  const auto questions = members.find("questions");
  if (questions == members.end()) {
    throw Error("expected a list \"questions\"", reading.source.path.string(),
                "name the file of questions; ?annotations=FILE names the answers");
  }
  const std::string subtype = subtype_of(members);
  PictureFinder pictures(picture_folders(reading.source, {subtype}), kImagesHint);
  const Answers answers = read_answers(reading);
  for_each_element(reading, questions->second,
                   [&](const nlohmann::json& object, const JsonElement& element) {
                     Record record = vqa_record(object, subtype, pictures);
                     record.line = element.number;
                     record.question_id = id_of(object, "question_id");
                     const auto found = answers.find(record.question_id);
                     if (found != answers.end()) {
                       record.answers = found->second.answers;
                       record.kinds = found->second.kinds;
                     }
                     if (reading.use == RecordUse::train) require_answer(record.answers);
                     reading.file.records.push_back(std::move(record));
                   });
}

void read_visual_genome_records(const RecordReading& reading) {
  const auto file = MappedFile::open(reading.source.path);
  PictureFinder pictures(picture_folders(reading.source, {"VG_100K", "VG_100K_2"}), kImagesHint);
  for_each_element(reading, {"", text_in(*file), 0, 0},
                   [&](const nlohmann::json& object, const JsonElement& element) {
                     const std::string id = id_of(
                         object, object.is_object() && object.contains("id") ? "id" : "image_id");
                     Record record;
                     record.image = pictures.find(id + ".jpg", {id + ".png"});
                     record.image_id = "vg:" + id;
                     record.line = element.number;
                     if (object.contains("regions")) {
                       return add_regions(object["regions"], std::move(record), reading);
                     }
                     add_questions(value_of(object, "qas"), record, reading);
                   });
}

}  // namespace blip2

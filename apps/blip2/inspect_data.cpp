#include "apps/blip2/inspect_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_set>

#include "apps/blip2/output.h"
#include "blip2/base/log.h"
#include "blip2/data/data_source.h"
#include "blip2/data/records.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::size_t kListed = 20;  // bad records in a summary

ordered_json to_json(const Record& record) {
  ordered_json line{{"image", record.image}};
  if (record.captions.size() == 1) line["caption"] = record.captions[0];
  if (record.captions.size() > 1) line["caption"] = record.captions;
  if (!record.keywords.empty()) line["keywords"] = record.keywords;
  if (record.is_question()) line["question"] = record.question;
  if (!record.answers.empty()) line["answers"] = record.answers;
  if (record.image_id != record.image) line["image_id"] = record.image_id;
  return line;
}

ordered_json summary_of(const std::string& source, const RecordFile& file) {
  std::unordered_set<std::string_view> pictures;
  std::size_t captions = 0, questions = 0, answers = 0, blanks = 0;
  for (const Record& record : file.records) {
    pictures.insert(record.image);
    captions += record.captions.size();
    questions += record.is_question() ? 1 : 0;
    answers += record.answers.size();
    blanks += record.blanks;
  }
  ordered_json bad = ordered_json::array();
  for (std::size_t i = 0; i < std::min(kListed, file.bad.size()); ++i) {
    bad.push_back(fmt::format("{}: {}", place_of(file, file.bad[i]), file.bad[i].what));
  }
  return {{"path", source},
          {"kind", data_kind_name(open_data_source(source).kind)},
          {"records", file.records.size()},
          {"pictures", pictures.size()},
          {"captions", captions},
          {"questions", questions},
          {"answers", answers},
          {"blank_captions", blanks},
          {"bad", file.bad.size()},
          {"bad_records", std::move(bad)},
          {"damage", file.damage},
          {"passed_over", file.passed_over}};
}

void print_summary(const ordered_json& summary) {
  for (const auto& [key, value] : summary.items()) {
    if (!value.is_array()) print_line(fmt::format("{:<14} {}", key, value.dump()));
  }
  for (const char* list : {"bad_records", "damage"}) {
    for (const auto& item : summary[list]) print_line("  " + item.get<std::string>());
  }
  for (const auto& item : summary["passed_over"]) {
    print_line("  passed over: " + item.get<std::string>());
  }
}

}  // namespace

bool is_data(const std::string& source) {
  std::error_code ignored;
  // A name with a kind or braces names data; what is there is looked at.
  if (!fs::exists(source, ignored)) return source.find_first_of(":{?") != std::string::npos;
  if (fs::is_directory(source) || fs::path(source).extension() == ".tar") {
    return recognise_data(source).has_value() && !fs::exists(fs::path(source) / "config.json");
  }
  if (!hint_for_unread_data(source).empty()) return true;  // its error says what is read
  const std::string extension = fs::path(source).extension().string();
  return (extension == ".json" || extension == ".jsonl") && recognise_data(source).has_value();
}

void inspect_data(const std::string& source, const InspectDataOptions& options) {
  // Everything is shown, whatever share of it is bad; a source without a good record is an error.
  const RecordFile file = read_records(source, RecordUse::pictures, {.share = 1});
  if (!options.records) {
    const ordered_json summary = summary_of(source, file);
    return options.json ? print_json(summary) : print_summary(summary);
  }
  for (const Record& record : file.records) print_json(to_json(record));
  if (const std::string bad = describe_bad_records(file, kListed); !bad.empty()) {
    log_warning("{}", bad);
  }
}

}  // namespace blip2

#include "blip2/answers/answer_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "blip2/base/file.h"
#include "blip2/evaluation/exact_match.h"
#include "blip2/evaluation/vqa_accuracy.h"
#include "blip2/io/tar_place.h"
#include "blip2/report/extreme_answers.h"
#include "blip2/report/html_report.h"

namespace blip2 {
namespace {

using nlohmann::ordered_json;

ordered_json result_of(const Record& record, const RecordAnswer& answer) {
  ordered_json line{{"image", record.image}};
  if (record.image_id != record.image) line["image_id"] = record.image_id;
  for (const auto& [field, kind] : record.kinds) line[field] = kind;
  if (record.is_question()) {
    line["question"] = record.question;
    line["text"] = answer.text;
    line["references"] = record.answers;
    line["accuracy"] = vqa_accuracy(answer.text, record.answers);
    return line;
  }
  line["text"] = answer.text;
  line["references"] = record.captions;
  if (!record.keywords.empty()) line["keywords"] = record.keywords;
  line["exact"] = equals_any(answer.text, record.captions);
  if (answer.hit) line["hit"] = *answer.hit;
  if (answer.clip) {
    line["clipscore"] = answer.clip->clipscore;
    line["refclipscore"] = answer.clip->refclipscore;
  }
  if (answer.probability) line["probability"] = *answer.probability;
  return line;
}

ReportPicture shown(const Record& record, const RecordAnswer& answer) {
  ReportPicture picture{read_source(record.image), {}};
  if (record.is_question()) picture.lines.push_back(record.question);
  picture.lines.push_back(answer.text);
  const bool agrees = equals_any(answer.text, right_texts(record));
  picture.lines.push_back(agrees ? "right" : "it is: " + first_text(right_texts(record)));
  if (answer.probability) {
    picture.lines.push_back(fmt::format("probability {:.2f}", *answer.probability));
  }
  picture.hit = answer.hit;
  return picture;
}

ScoredAnswer scored(const Record& record, const RecordAnswer& answer) {
  ScoredAnswer out{answer.score, {}};
  if (record.is_question()) out.lines.push_back(record.question);
  out.lines.push_back(answer.text);
  out.lines.push_back("right: " + first_text(right_texts(record)));
  return out;
}

}  // namespace

void write_answer_lines(const std::string& path, std::span<const Record> records,
                        std::span<const RecordAnswer> answers) {
  AtomicFile file(path);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const ordered_json line = result_of(records[i], answers[i]);
    file.write(line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  }
  file.commit();
}

void write_answer_report(const std::string& path, const std::string& task, const std::string& intro,
                         const ordered_json& result, std::span<const Record> records,
                         std::span<const RecordAnswer> answers) {
  constexpr std::size_t kShown = 36, kExtreme = 12;
  HtmlReport report("blip2 eval: " + task);
  report.paragraph(intro);
  report.preformatted(result.dump(2));
  std::vector<ScoredAnswer> all;
  for (std::size_t i = 0; i < answers.size(); ++i) all.push_back(scored(records[i], answers[i]));
  add_extreme_answers(report, all, task == "vqa" ? "accuracy" : "cider", kExtreme,
                      [&](std::size_t i) { return read_source(records[i].image); });
  if (!answers.empty()) report.heading("First records");
  std::vector<ReportPicture> pictures;
  for (std::size_t i = 0; i < std::min(kShown, answers.size()); ++i) {
    pictures.push_back(shown(records[i], answers[i]));
  }
  report.pictures(pictures);
  write_file(path, report.html());
}

}  // namespace blip2

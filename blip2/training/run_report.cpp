#include "blip2/recipe/compute_type.h"
#include "blip2/training/run_report_internal.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "blip2/base/file.h"
#include "blip2/base/log.h"
#include "blip2/base/progress.h"
#include "blip2/data/records.h"
#include "blip2/io/fields.h"
#include "blip2/io/tar_place.h"
#include "blip2/model/generation_config.h"
#include "blip2/model/generation_model.h"
#include "blip2/model/prompts.h"
#include "blip2/report/html_report.h"
#include "blip2/tasks/task.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxReportedLog = std::uint64_t{1} << 32;
constexpr std::size_t kShown = 12, kMaxPoints = 2000;
constexpr std::int64_t kMostTokens = 20;
// What the log has of a step besides losses and accuracies.
constexpr const char* kOfTheRun[] = {"lr", "grad_norm", "samples_per_second", "data_share"};

// The log's numbers by name, in the order of the steps.
using Curves = std::map<std::string, ReportSeries>;

Curves read_curves(const fs::path& log) {
  Curves curves;
  std::istringstream lines(read_file(log, kMaxReportedLog));
  for (std::string text; std::getline(lines, text);) {
    const auto line = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!line.is_object() || !line.contains("step")) continue;
    const auto step = line["step"].get<double>();
    for (const auto& [name, value] : line.items()) {
      if (name == "step" || !value.is_number()) continue;
      curves[name].name = name;
      curves[name].points.emplace_back(step, value.get<double>());
    }
  }
  return curves;
}

// Thins out a long curve: every n-th point, and the last.
ReportSeries thinned(const ReportSeries& series) {
  const std::size_t every = series.points.size() / kMaxPoints + 1;
  ReportSeries thin{series.name, {}};
  for (std::size_t i = 0; i < series.points.size(); ++i) {
    if (i % every == 0 || i + 1 == series.points.size()) thin.points.push_back(series.points[i]);
  }
  return thin;
}

void add_charts(HtmlReport& report, const Curves& curves) {
  std::vector<ReportSeries> losses, accuracies, validation;
  for (const auto& [name, series] : curves) {
    if (name == "epoch" || std::ranges::find(kOfTheRun, name) != std::end(kOfTheRun)) continue;
    auto& chart = name.starts_with("validation_") ? validation
                  : name.ends_with("_accuracy")   ? accuracies
                                                  : losses;
    chart.push_back(thinned(series));
  }
  const auto chart = [&](const char* title, const char* unit,
                         const std::vector<ReportSeries>& series) {
    if (!series.empty()) report.line_chart(title, "step", unit, series);
  };
  report.heading("Curves");
  chart("Losses in training", "nats", losses);
  chart("Validation", "nats or share", validation);
  chart("Accuracies in training", "share", accuracies);
  for (const char* name : kOfTheRun) {
    if (curves.contains(name)) chart(name, name, {thinned(curves.at(name))});
  }
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

void add_facts(HtmlReport& report, const Recipe& recipe, const Curves& curves, double seconds) {
  const double memory =
      static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  std::vector<std::vector<std::string>> rows{
      {"stage", fmt::format("{}", recipe.stage)},
      {"steps", fmt::format("{}", recipe.steps)},
      {"samples", fmt::format("{}", recipe.steps * recipe.batch_size)},
      {"time of the last session", format_duration(seconds)},
      {"number type", compute_type(recipe) == at::kFloat ? "f32" : "bf16"},
      {"processor", processor_name()},
      {"threads", fmt::format("{}", at::get_num_threads())},
      {"memory of the machine", fmt::format("{:.1f} GB", memory / 1e9)},
      {"LibTorch", TORCH_VERSION},
      {"compiler", __VERSION__}};
  for (const char* name : {"loss", "validation_loss"}) {
    if (!curves.contains(name)) continue;
    const double last = curves.at(name).points.back().second;
    rows.push_back({fmt::format("{} at the end", name), fmt::format("{:.4f}", last)});
  }
  report.heading("Run");
  report.table({"", ""}, rows);
}

// The first records of the validation data, spread over its sources.
std::vector<Record> shown_records(const DataRecipe& data) {
  std::vector<Record> records;
  const std::size_t each = std::max<std::size_t>(kShown / data.validation.size(), 1);
  for (const std::string& source : data.validation) {
    const RecordFile file = read_records(source, RecordUse::train, {.share = data.bad_share});
    const std::size_t step = std::max<std::size_t>(file.records.size() / each, 1);
    for (std::size_t i = 0; i < each && i * step < file.records.size(); ++i) {
      records.push_back(file.records[i * step]);
    }
  }
  return records;
}

void add_samples(HtmlReport& report, const Recipe& recipe, const fs::path& folder) {
  if (recipe.stage != 2 || recipe.data.validation.empty()) return;
  const GenerationModel model(folder);
  GenerationOptions options;
  options.max_new_tokens = kMostTokens;
  apply_generation_config(
      folder, [](std::string_view) { return false; }, options);
  std::vector<ReportPicture> pictures;
  for (const Record& record : shown_records(recipe.data)) {
    const std::vector<std::string> image{record.image};
    const std::vector<Prompt> prompts{
        record_prompt(record, model.config().caption_prompt, model.config().question_prompt)};
    ReportPicture picture{read_source(record.image), {}};
    const auto texts = model.generate(model.project_images(image), prompts, options);
    if (record.is_question()) picture.lines.push_back(record.question);
    picture.lines.push_back(texts.front().front().text);
    const auto& right = record.is_question() ? record.answers : record.captions;
    picture.lines.push_back("in the data: " + first_text(right));
    pictures.push_back(std::move(picture));
  }
  report.heading("What the model says of validation pictures");
  report.pictures(pictures);
}

}  // namespace

void write_run_report(const Recipe& recipe, const fs::path& folder, double seconds) {
  const Curves curves = read_curves(folder / "log.jsonl");
  HtmlReport report(fmt::format("blip2 train: stage {}", recipe.stage));
  add_facts(report, recipe, curves, seconds);
  add_charts(report, curves);
  add_samples(report, recipe, folder);
  report.heading("Recipe");
  report.preformatted(write_value(recipe).dump(2));
  write_file(folder / "report.html", report.html());
}

}  // namespace blip2

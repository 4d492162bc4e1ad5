#include "apps/blip2/score_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/io/tar_place.h"
#include "blip2/report/extreme_answers.h"
#include "blip2/report/html_report.h"

namespace blip2 {
namespace {

using nlohmann::ordered_json;

// The bytes of the picture file of a pair; empty if there is no file, or none that a page can show.
std::string picture_of(const ScoreOptions& options, const TextPair& pair) {
  const std::string& name = picture_name(pair);
  if (name.empty()) return {};
  std::vector<std::filesystem::path> places;
  if (TarPlace::parse(name)) places.emplace_back(name);
  for (const auto& folder : picture_folders_of(options)) {
    places.insert(places.end(), {folder / name, folder / std::filesystem::path(name).filename()});
  }
  for (const auto& place : places) {
    try {
      std::string file = read_source(place.string());
      data_uri(file);
      return file;
    } catch (const Error&) {  // the next place may have it
    }
  }
  return {};
}

// Adds a table of all metrics, beside them the metrics of --against if there are any.
void add_metrics(HtmlReport& report, const ScoreOptions& options, const Scored& ours,
                 const Scored* theirs) {
  const auto a = metrics_of(ours.set.sums, ours.set.metrics);
  const auto b = theirs == nullptr ? a : metrics_of(theirs->set.sums, theirs->set.metrics);
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = 0; i < a.size(); ++i) {
    rows.push_back({ours.set.names[i], fmt::format("{:.4f}", a[i])});
    if (theirs == nullptr) continue;
    rows.back().push_back(fmt::format("{:.4f}", b[i]));
    rows.back().push_back(fmt::format("{:.4f}", a[i] - b[i]));
  }
  std::vector<std::string> header{"metric", options.results};
  if (theirs != nullptr) header.insert(header.end(), {options.against, "difference"});
  report.table(header, rows);
}

}  // namespace

Resampling ScoreOptions::resampling() const {
  return {samples, seed, std::max(1u, std::thread::hardware_concurrency())};
}

const std::string& picture_name(const TextPair& pair) {
  return pair.reference->image.empty() ? pair.result->image : pair.reference->image;
}

std::vector<std::filesystem::path> picture_folders_of(const ScoreOptions& options) {
  const std::string references = options.references.substr(0, options.references.rfind("?split="));
  std::vector<std::filesystem::path> folders{std::filesystem::path(references).parent_path()};
  if (!options.images.empty()) folders.emplace_back(options.images);
  return folders;
}

std::size_t main_metric(const ScoreSet& set) {
  const auto found = std::find(set.names.begin(), set.names.end(), "cider");
  return found == set.names.end() ? 0 : static_cast<std::size_t>(found - set.names.begin());
}

void write_score_report(const ScoreOptions& options, const ordered_json& result, const Scored& ours,
                        const Scored* theirs) {
  constexpr std::size_t kShown = 24;
  HtmlReport report("blip2 score: " + options.task);
  report.paragraph(fmt::format("Results {}, references {}.", options.results, options.references));
  if (theirs != nullptr) report.paragraph(result["verdict"].get<std::string>() + ".");
  add_metrics(report, options, ours, theirs);
  const std::size_t shown = main_metric(ours.set);
  std::vector<ScoredAnswer> answers;
  for (std::size_t i = 0; i < ours.pairs.size(); ++i) {
    const auto& [said, reference] = ours.pairs[i];
    ScoredAnswer answer{ours.set.metrics(ours.set.sums.row(i))[shown], {}};
    if (!reference->question.empty()) answer.lines.push_back(reference->question);
    answer.lines.push_back(said->texts[0]);
    if (theirs != nullptr) {
      answer.score -= theirs->set.metrics(theirs->set.sums.row(i))[shown];
      answer.lines.push_back("against: " + theirs->pairs[i].result->texts[0]);
    }
    answer.lines.push_back("right: " + reference->texts[0]);
    answers.push_back(std::move(answer));
  }
  const std::string name = ours.set.names[shown] + (theirs == nullptr ? "" : " difference");
  add_extreme_answers(report, answers, name, kShown,
                      [&](std::size_t i) { return picture_of(options, ours.pairs[i]); });
  report.heading("All figures");
  report.preformatted(result.dump(2));
  write_file(options.report, report.html());
}

}  // namespace blip2

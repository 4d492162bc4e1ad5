#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "apps/blip2/output.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/log.h"
#include "blip2/data/data_source.h"
#include "blip2/data/records.h"
#include "blip2/evaluation/kind_scores.h"
#include "blip2/evaluation/score_set.h"
#include "blip2/evaluation/text_items.h"
#include "blip2/io/tar_place.h"
#include "blip2/report/extreme_answers.h"
#include "blip2/report/html_report.h"

namespace blip2 {
namespace {

using nlohmann::ordered_json;

struct ScoreOptions {
  std::string task, results, references, against, scores, report, images, meteor_data;
  bool partial = false, json = false;
  std::size_t samples = 1000;
  std::uint64_t seed = 0;

  TextTask text_task() const { return task == "vqa" ? TextTask::vqa : TextTask::caption; }
  Resampling resampling() const {
    return {samples, seed, std::max(1u, std::thread::hardware_concurrency())};
  }
};

// References from data that hold their pictures: folders, shards, Visual Genome.
std::vector<TextItem> items_of_records(const ScoreOptions& options) {
  const RecordFile file = read_records(options.references, RecordUse::train);
  if (!file.bad.empty() || !file.damage.empty()) log_warning("{}", describe_bad_records(file));
  std::vector<TextItem> items;
  for (const Record& record : file.records) {
    if (record.is_question() != (options.task == "vqa")) continue;
    items.push_back({names_of_item("", record.image, record.question),
                     record.is_question() ? record.answers : record.captions, record.kinds,
                     record.line, record.image, record.question});
  }
  return items;
}

std::vector<TextItem> read_references(const ScoreOptions& options) {
  const std::string& text = options.references;
  std::error_code ignored;
  const std::size_t mark = text.rfind("?split=");
  const std::string path = text.substr(0, mark);
  if (std::filesystem::is_regular_file(path, ignored) && !path.ends_with(".tar")) {
    const std::string split = mark == text.npos ? "" : text.substr(mark + 7);
    return read_text_items(path, options.text_task(), split);
  }
  return items_of_records(options);
}

struct Scored {
  std::vector<TextPair> pairs;
  ScoreSet set;
};

Scored score_file(const ScoreOptions& options, const std::vector<TextItem>& results,
                  const std::vector<TextItem>& references) {
  Scored scored{pair_items(results, references, options.partial), {}};
  scored.set =
      options.task == "vqa"
          ? score_answer_pairs(scored.pairs)
          : score_caption_pairs(scored.pairs, options.resampling().threads, options.meteor_data);
  return scored;
}

ordered_json with_names(const ScoreSet& set, const std::vector<double>& values) {
  ordered_json out = ordered_json::object();
  for (std::size_t i = 0; i < set.names.size(); ++i) out[set.names[i]] = values[i];
  return out;
}

// The accuracy of each kind of question.
ordered_json question_parts(const Scored& scored) {
  KindScores kinds;
  for (std::size_t i = 0; i < scored.pairs.size(); ++i) {
    kinds.add(scored.pairs[i].reference->kinds, scored.set.metrics(scored.set.sums.row(i))[0]);
  }
  return kinds.to_json();
}

// The metrics of each domain of pictures, scored as a set of its own.
ordered_json caption_parts(const ScoreOptions& options, const Scored& scored) {
  std::map<std::string, std::vector<TextPair>> parts;
  for (const TextPair& pair : scored.pairs) {
    const auto found = pair.reference->kinds.find("domain");
    if (found != pair.reference->kinds.end()) parts[found->second].push_back(pair);
  }
  ordered_json out = ordered_json::object();
  for (const auto& [domain, pairs] : parts) {
    const ScoreSet set =
        score_caption_pairs(pairs, options.resampling().threads, options.meteor_data);
    out["domain"][domain] = with_names(set, metrics_of(set.sums, set.metrics));
    out["domain"][domain]["captions"] = pairs.size();
  }
  return out;
}

// The metrics, how many records, and the intervals if there are any samples.
ordered_json describe(const ScoreOptions& options, const Scored& scored) {
  const ScoreSet& set = scored.set;
  ordered_json out = with_names(set, metrics_of(set.sums, set.metrics));
  out[options.task == "vqa" ? "questions" : "captions"] = scored.pairs.size();
  const ordered_json kinds =
      options.task == "vqa" ? question_parts(scored) : caption_parts(options, scored);
  if (!kinds.empty()) out["by_kind"] = kinds;
  if (options.samples == 0) return out;
  const auto intervals = bootstrap_intervals(set.sums, set.metrics, options.resampling());
  for (std::size_t i = 0; i < intervals.size(); ++i) {
    out["intervals"][set.names[i]] = {intervals[i].low, intervals[i].high};
  }
  return out;
}

std::string verdict_on(const ScoreOptions& options, double difference, double p) {
  const std::string metric = options.task == "vqa" ? "accuracy" : "cider";
  if (difference == 0) return fmt::format("{} is the same for both", metric);
  return fmt::format("{} of {} is {:.4g} {} than that of {}; {} (p = {:.3g})", metric,
                     options.results, std::abs(difference), difference > 0 ? "higher" : "lower",
                     options.against,
                     p < 0.05 ? "chance alone hardly makes such a difference"
                              : "chance alone may make such a difference",
                     p);
}

// The place of the metric that the verdict and the report are about.
std::size_t main_metric(const ScoreSet& set) {
  const auto found = std::find(set.names.begin(), set.names.end(), "cider");
  return found == set.names.end() ? 0 : static_cast<std::size_t>(found - set.names.begin());
}

// Both files' scores, and how they differ over the records that both have.
ordered_json compare(const ScoreOptions& options, const Scored& ours, const Scored& theirs) {
  const auto same = [](const TextPair& a, const TextPair& b) { return a.reference == b.reference; };
  if (!std::equal(ours.pairs.begin(), ours.pairs.end(), theirs.pairs.begin(), theirs.pairs.end(),
                  same)) {
    throw Error("expected results for the same records as in " + options.results, options.against,
                "score each file alone, or cut them to the records of both");
  }
  const ScoreSet& set = ours.set;
  const auto a = metrics_of(set.sums, set.metrics);
  const auto b = metrics_of(theirs.set.sums, set.metrics);
  const auto p = randomisation_test(set.sums, theirs.set.sums, set.metrics, options.resampling());
  ordered_json differences = ordered_json::object();
  for (std::size_t i = 0; i < p.size(); ++i) {
    differences[set.names[i]] = {{"difference", a[i] - b[i]}, {"p", p[i]}};
  }
  const std::size_t shown = main_metric(set);
  return {{"results", describe(options, ours)},
          {"against", describe(options, theirs)},
          {"differences", differences},
          {"verdict", verdict_on(options, a[shown] - b[shown], p[shown])}};
}

// A JSON line a record: what it was, what was said, and its scores.
void write_scores(const ScoreOptions& options, const Scored& scored) {
  AtomicFile file(options.scores);
  for (std::size_t i = 0; i < scored.pairs.size(); ++i) {
    const auto& [result, reference] = scored.pairs[i];
    ordered_json line{{"record", reference->names[0]},
                      {"result", result->texts[0]},
                      {"references", reference->texts}};
    for (const auto& [field, kind] : reference->kinds) line[field] = kind;
    const auto values = scored.set.metrics(scored.set.sums.row(i));
    for (std::size_t m = 0; m < values.size(); ++m) {
      const bool of_kind = options.task == "vqa" && m > 0;
      if (!of_kind) line[scored.set.names[m]] = values[m];
    }
    file.write(line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  }
  file.commit();
}

// The picture of a reference as a file's bytes: as the file names it, beside that file, or in the
// folder --images; empty if it is nowhere, or no picture for a page.
std::string picture_of(const ScoreOptions& options, const TextItem& reference) {
  if (reference.image.empty()) return {};
  if (TarPlace::parse(reference.image)) return read_source(reference.image);
  const std::filesystem::path name = reference.image;
  std::vector<std::filesystem::path> places{
      std::filesystem::path(options.references).parent_path() / name};
  if (!options.images.empty()) {
    places.push_back(std::filesystem::path(options.images) / name);
    places.push_back(std::filesystem::path(options.images) / name.filename());
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

// A table of all metrics, those of --against beside them if there are any.
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

// HTML: the metrics, all figures, and the best and worst answers. With --against the best are those
// that are better there than the other file's, by the most, and both are shown.
void write_report(const ScoreOptions& options, const ordered_json& result, const Scored& ours,
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
                      [&](std::size_t i) { return picture_of(options, *ours.pairs[i].reference); });
  report.heading("All figures");
  report.preformatted(result.dump(2));
  write_file(options.report, report.html());
}

void score(const ScoreOptions& options) {
  if (options.samples == 0 && !options.against.empty()) {
    throw CLI::ValidationError("--samples", "expected at least 1 with --against");
  }
  const auto references = read_references(options);
  const auto results = read_text_items(options.results, options.text_task());
  const Scored scored = score_file(options, results, references);
  std::vector<TextItem> others;
  std::optional<Scored> against;
  if (!options.against.empty()) {
    others = read_text_items(options.against, options.text_task());
    against = score_file(options, others, references);
  }
  const ordered_json out = against ? compare(options, scored, *against) : describe(options, scored);
  if (!options.scores.empty()) write_scores(options, scored);
  if (!options.report.empty()) {
    write_report(options, out, scored, against ? &*against : nullptr);
  }
  if (options.json) {
    print_json(out);
  } else {
    print_line(out.dump(2));
  }
}

}  // namespace

void add_score(CLI::App& app) {
  auto* verb = app.add_subcommand("score", "Score a file of captions or answers without a model");
  auto options = std::make_shared<ScoreOptions>();
  verb->add_option("--task", options->task, "Kind of the results")
      ->required()
      ->check(CLI::IsMember({"caption", "vqa"}));
  verb->add_option("--results", options->results,
                   "JSON list or JSON lines: {\"image_id\", \"caption\"} or {\"question_id\", "
                   "\"answer\"}, or what this program printed with --json")
      ->required();
  verb->add_option("--references", options->references,
                   "The right captions or answers: COCO, VQAv2, Karpathy (?split=test) or NoCaps "
                   "annotations, a data file, a folder or tar shards; see docs/scores.md")
      ->required();
  verb->add_option("--against", options->against,
                   "Another file of results, to tell whether the difference is chance");
  verb->add_option("--scores", options->scores, "JSONL file to write: the scores of each record");
  verb->add_option("--report", options->report,
                   "HTML file to write: the scores, the best and the worst answers");
  verb->add_option("--images", options->images, "Folder of the pictures for the report")
      ->check(CLI::ExistingDirectory);
  verb->add_option("--meteor-data", options->meteor_data,
                   "meteor-1.5.jar of pycocoevalcap, or its folder: METEOR is computed too")
      ->check(CLI::ExistingPath);
  verb->add_flag("--partial", options->partial,
                 "Score the references that have a result and leave out the others");
  verb->add_option("--samples", options->samples,
                   "Number of draws for the intervals and the comparison; 0: no intervals")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  verb->add_option("--seed", options->seed, "Seed of the draws")->capture_default_str();
  add_json_flag(*verb, options->json);
  verb->callback([options] { score(*options); });
}

}  // namespace blip2

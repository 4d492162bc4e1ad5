#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/blip2/bad_items.h"
#include "apps/blip2/output.h"
#include "apps/blip2/score_report.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/log.h"
#include "blip2/data/data_source.h"
#include "blip2/data/picture_finder.h"
#include "blip2/data/records.h"
#include "blip2/evaluation/kind_scores.h"
#include "blip2/evaluation/score_set.h"
#include "blip2/evaluation/text_items.h"

namespace blip2 {
namespace {

using nlohmann::ordered_json;

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

// The metrics of captions. `clip` has one row for each pair; it is empty without --clip.
ScoreSet score_captions_of(const ScoreOptions& options, std::span<const TextPair> pairs,
                           std::span<const std::vector<double>> clip) {
  ScoreSet set = score_caption_pairs(pairs, options.resampling().threads, options.meteor_data);
  if (!clip.empty()) add_means(set, {kClipNames.begin(), kClipNames.end()}, clip);
  return set;
}

// What CLIP reads of each pair, and why its picture is missing. The item of a missing picture has
// no image.
struct ClipInputs {
  std::vector<ClipItem> items;
  std::vector<std::string> failures;
};

ClipInputs clip_inputs(const ScoreOptions& options, std::span<const TextPair> pairs) {
  PictureFinder pictures(picture_folders_of(options), "--images names their folder");
  ClipInputs inputs;
  for (const TextPair& pair : pairs) {
    const std::string& name = picture_name(pair);
    inputs.items.push_back({"", pair.result->texts[0], pair.reference->texts});
    inputs.failures.emplace_back();
    try {
      if (name.empty()) throw Error("neither references nor results name its picture");
      inputs.items.back().image =
          pictures.find(name, {std::filesystem::path(name).filename().string()});
    } catch (const Error& error) {
      inputs.failures.back() = error.within(pair.reference->names[0]).what();
    }
  }
  return inputs;
}

// Sets the CLIPScores of the pairs whose pictures can be read, and names the others in `bad` if it
// is not null. Error if all are bad.
void score_by_clip(const ScoreOptions& options, const ScoreByClip& clip, Scored& scored,
                   BadItems* bad) {
  const ClipInputs inputs = clip_inputs(options, scored.pairs);
  std::vector<ClipItem> found;
  for (const ClipItem& item : inputs.items) {
    if (!item.image.empty()) found.push_back(item);
  }
  const std::vector<ClipResult> results = clip(found);
  std::size_t next = 0;
  for (std::size_t i = 0; i < inputs.items.size(); ++i) {
    scored.clip.emplace_back();
    std::string failure = inputs.failures[i];
    if (failure.empty()) {
      const ClipResult& result = results[next++];
      failure = result.failure;
      if (failure.empty()) scored.clip[i] = {result.score.clipscore, result.score.refclipscore};
    }
    if (!failure.empty() && bad != nullptr) bad->add("", failure);
  }
  if (bad != nullptr) bad->check(scored.pairs.size());
}

Scored score_file(const ScoreOptions& options, const std::vector<TextItem>& results,
                  const std::vector<TextItem>& references, const ScoreByClip& clip, BadItems* bad) {
  Scored scored{pair_items(results, references, options.partial)};
  if (options.task == "vqa") {
    scored.set = score_answer_pairs(scored.pairs);
    return scored;
  }
  if (clip) score_by_clip(options, clip, scored, bad);
  scored.set = score_captions_of(options, scored.pairs, scored.clip);
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
  std::map<std::string, Scored> parts;
  for (std::size_t i = 0; i < scored.pairs.size(); ++i) {
    const QuestionKinds& kinds = scored.pairs[i].reference->kinds;
    const auto found = kinds.find("domain");
    if (found == kinds.end()) continue;
    Scored& part = parts[found->second];
    part.pairs.push_back(scored.pairs[i]);
    if (!scored.clip.empty()) part.clip.push_back(scored.clip[i]);
  }
  ordered_json out = ordered_json::object();
  for (const auto& [domain, part] : parts) {
    const ScoreSet set = score_captions_of(options, part.pairs, part.clip);
    out["domain"][domain] = with_names(set, metrics_of(set.sums, set.metrics));
    out["domain"][domain]["captions"] = part.pairs.size();
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

void check_options(const ScoreOptions& options) {
  if (options.samples == 0 && !options.against.empty()) {
    throw CLI::ValidationError("--samples", "expected at least 1 with --against");
  }
  if (options.task == "vqa" && !options.clip.empty()) {
    throw CLI::ValidationError("--clip", "expected the task caption");
  }
}

void score(const ScoreOptions& options, OpenClip open) {
  check_options(options);
  for (const std::string& path : {options.scores, options.report}) {
    if (!path.empty()) require_place(path);
  }
  const ScoreByClip clip = options.clip.empty() ? nullptr : open(options.clip);
  BadItems bad(/*json=*/false, options.bad_share);
  const auto references = read_references(options);
  const auto results = read_text_items(options.results, options.text_task());
  const Scored scored = score_file(options, results, references, clip, &bad);
  std::vector<TextItem> others;
  std::optional<Scored> against;
  if (!options.against.empty()) {
    others = read_text_items(options.against, options.text_task());
    against = score_file(options, others, references, clip, nullptr);
  }
  ordered_json out = against ? compare(options, scored, *against) : describe(options, scored);
  if (!options.scores.empty()) write_scores(options, scored);
  if (bad.count() > 0) out["bad"] = bad.count();
  if (!options.report.empty()) {
    write_score_report(options, out, scored, against ? &*against : nullptr);
  }
  if (options.json) {
    print_json(out);
  } else {
    print_line(out.dump(2));
  }
  bad.finish(scored.pairs.size());
}

}  // namespace

void add_score(CLI::App& app) {
  add_score_verb(app, [](const std::string&) -> ScoreByClip { throw NeedsTorch{}; });
}

void add_score_verb(CLI::App& app, OpenClip open) {
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
  verb->add_option("--clip", options->clip,
                   "Directory of a CLIP (transformers' CLIPModel): CLIPScore and RefCLIPScore are "
                   "computed too, of the pictures that the references name")
      ->check(CLI::ExistingDirectory);
  add_bad_share(*verb, options->bad_share);
  verb->add_option("--images", options->images, "Folder of the pictures for --clip and the report")
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
  verb->callback([options, open] { score(*options, open); });
}

}  // namespace blip2

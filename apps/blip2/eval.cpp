#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "apps/blip2/bad_items.h"
#include "apps/blip2/choice_flags.h"
#include "apps/blip2/generate.h"
#include "apps/blip2/generation_flags.h"
#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/answers/answer_report.h"
#include "blip2/answers/answer_scores.h"
#include "blip2/answers/clip_scorer.h"
#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/log.h"
#include "blip2/data/records.h"
#include "blip2/model/retrieval_model.h"
#include "blip2/processes/rank_work.h"
#include "blip2/processes/ranks.h"
#include "blip2/retrieval/caption_choice.h"
#include "blip2/retrieval/evaluate_retrieval.h"

namespace blip2 {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kNamed = 20;  // bad records that are named

struct EvalOptions {
  RunOptions run;
  GenerationOptions generation;
  std::string task, data, report, results, recipe, clip, fusion = "probability";
  std::optional<std::string> prompt, question_template;  // if not given: the model's
  std::int64_t batch_size = 32, rerank = 128, folds = 1;
  double matching_weight = 1;
  std::optional<double> bad_share;
  SharedCaptions shared = SharedCaptions::own;
  std::vector<std::string> generic_words;  // that make no hit
  ChoiceFlags choice_flags;
  std::optional<CaptionChoiceOptions> choice;  // of --choose
  std::chrono::seconds timeout{600};
};

// Error if a record is not of the task's kind.
void require_kind(const std::vector<Record>& records, const EvalOptions& options) {
  const bool vqa = options.task == "vqa";
  for (const Record& record : records) {
    if (record.is_question() == vqa) continue;
    throw Error(vqa ? "expected a question, got a caption" : "expected a caption, got a question",
                fmt::format("{}:{}", options.data, record.line));
  }
}

struct Evaluation {
  ordered_json result;
  std::vector<RecordAnswer> answers;  // of the records; none in retrieval
};

// What the model says of the records, scored; those whose pictures are unreadable leave the file.
// Nothing but at rank 0.
Evaluation evaluate_answers(const EvalOptions& options, RecordFile& file,
                            const BadRecordPolicy& policy, const Ranks* ranks) {
  require_kind(file.records, options);
  // Opened first, so that a wrong directory is not found after hours of work.
  const ScoreByClip clip = options.clip.empty() ? nullptr : open_clip(options.clip);
  const auto answer = [&](std::span<const Record> some, const TakeAnswer& take) {
    if (options.choice) {
      apply_threads(options.run.threads);
      return choose_answers(CaptionChooser(*options.choice), some, options.batch_size, take);
    }
    const GenerationModel model = open_generation_model(options.run);
    write_answers(model, some, options.prompt.value_or(model.config().caption_prompt),
                  options.question_template.value_or(model.config().question_prompt),
                  options.generation, options.batch_size, take);
  };
  auto all = answer_records(file.records, options.batch_size, options.task, ranks, answer);
  if (!is_main_process(ranks)) return {};
  std::vector<RecordAnswer> answers = drop_unreadable(file, std::move(all), policy);
  if (options.task == "vqa") return {score_questions(file.records, answers), answers};
  mark_hits(file.records, answers, options.generic_words);
  if (clip) mark_clip_scores(file.records, answers, clip);
  return {score_captions(file.records, answers), answers};
}

ordered_json to_json(const Recall& recall) {
  return {{"r1", recall.r1},
          {"r5", recall.r5},
          {"r10", recall.r10},
          {"mean_rank", recall.mean_rank},
          {"median_rank", recall.median_rank},
          {"map_at_r", recall.map_at_r}};
}

ordered_json to_json(const RetrievalScores& scores) {
  return {{"image_to_text", to_json(scores.image_to_text)},
          {"text_to_image", to_json(scores.text_to_image)}};
}

ordered_json to_json(const RetrievalRecalls& recalls) {
  ordered_json object = to_json(recalls.reranked);
  object["itc_only"] = to_json(recalls.by_contrast);
  return object;
}

// The same of the retrieval of pictures and captions.
Evaluation evaluate_ranking(const EvalOptions& options, RecordFile& file,
                            const BadRecordPolicy& policy, const Ranks* ranks) {
  apply_threads(options.run.threads);
  const Fusion fusion{options.fusion == "lavis" ? Fusion::lavis : Fusion::probability,
                      options.matching_weight};
  const RetrievalModel model(options.run.model, options.run.precision, bridge_type(options.run),
                             options.run.pictures);
  const RetrievalResult found = evaluate_retrieval(
      model, file, {options.rerank, fusion, options.shared, options.folds}, ranks);
  if (!is_main_process(ranks)) return {};
  drop_pictures(file, found.unreadable, policy);
  ordered_json result = to_json(found.recalls);
  if (found.in_folds) {
    result["in_folds"] = to_json(*found.in_folds);
    result["in_folds"]["folds"] = options.folds;
  }
  result["images"] = found.images;
  result["texts"] = found.texts;
  return {std::move(result), {}};
}

void print_result(const EvalOptions& options, const ordered_json& result) {
  if (options.run.json) {
    print_json(result);
  } else {
    print_line(result.dump(2));
  }
}

// Names what is bad or passed over; Error if something is bad and no --bad-share bears it.
void report_bad(const EvalOptions& options, const RecordFile& file) {
  const std::string bad = describe_bad_records(file, kNamed);
  if (!bad.empty()) log_warning("{}", bad);
  if (options.bad_share || file.bad.empty()) return;
  throw Error(fmt::format("{} of {} records are bad, see above", file.bad.size(),
                          file.records.size() + file.bad.size()),
              options.data, "the others are measured; --bad-share bears some");
}

void evaluate(const EvalOptions& options) {
  for (const std::string& path : {options.results, options.report}) {
    if (!path.empty()) require_place(path);
  }
  const auto ranks = join_ranks(options.timeout);
  const BadRecordPolicy policy{.share = options.bad_share.value_or(1)};
  auto file = read_records(options.data, RecordUse::train, policy);
  require_same(ranks.get(), options.data + ": records", std::to_string(file.records.size()));
  const auto work = options.task == "retrieval" ? evaluate_ranking : evaluate_answers;
  auto [result, answers] = work(options, file, policy, ranks.get());
  if (!is_main_process(ranks.get())) return;
  if (!file.bad.empty()) result["bad"] = file.bad.size();
  if (!options.results.empty()) write_answer_lines(options.results, file.records, answers);
  if (!options.report.empty()) {
    write_answer_report(options.report, options.task,
                        fmt::format("Model {}, data {}.", options.run.model, options.data), result,
                        file.records, answers);
  }
  print_result(options, result);
  report_bad(options, file);
}

// What --choose asks for; wrong usage for what the task has not. Names are re-ranked as `caption`
// does it unless --rerank says otherwise.
void settle_choice(const CLI::App& verb, EvalOptions& options) {
  if (!options.results.empty() && options.task == "retrieval") {
    throw CLI::ValidationError(
        "--results", "expected the task caption or vqa: retrieval has no text for each record");
  }
  if (!options.clip.empty() && options.task != "caption") {
    throw CLI::ValidationError("--clip", "expected the task caption, got " + options.task);
  }
  if (!options.choice_flags.on()) return;
  if (options.task != "caption") {
    throw CLI::ValidationError("--choose", "expected the task caption, got " + options.task);
  }
  LabelOptions ranking;
  if (verb.count("--rerank") > 0) ranking.rerank = options.rerank;
  ranking.matching_weight = options.matching_weight;
  options.choice =
      choice_options(verb, options.run, options.choice_flags, ranking, options.generation);
}

// How retrieval and names are ranked.
void add_scoring_flags(CLI::App& verb, EvalOptions& options) {
  verb.add_option("--rerank", options.rerank,
                  "Number of candidates that matching re-ranks (retrieval; for --names: 32)")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  verb.add_option("--fusion", options.fusion,
                  "Score of a re-ranked pair: probability (cosine / temperature + log matching "
                  "probability) or lavis (cosine + matching logit)")
      ->check(CLI::IsMember({"probability", "lavis"}))
      ->capture_default_str();
  verb.add_option(
          "--folds", options.folds,
          "Number of parts of the pictures, in their order, that are measured separately too, with "
          "their mean under in_folds (retrieval): 5 parts of COCO's 5000 pictures are its 5 x 1k")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  verb.add_option("--matching-weight", options.matching_weight,
                  "Weight of matching beside contrast (retrieval, --names)")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
}

}  // namespace

void add_eval(CLI::App& app) {
  auto* verb = app.add_subcommand("eval", "Measure a model on a data file");
  auto options = std::make_shared<EvalOptions>();
  options->generation.max_new_tokens = 20;
  add_run_options(*verb, options->run);
  add_generation_flags(*verb, options->generation);
  verb->add_option("--task", options->task, "What to measure")
      ->required()
      ->check(CLI::IsMember({"caption", "vqa", "retrieval"}));
  verb->add_option("--recipe", options->recipe,
                   "TOML file with these options, as \"beams = 5\"; recipes/eval_*.toml have the "
                   "paper's. Options and variables override it")
      ->check(CLI::ExistingFile);
  verb->add_option("--prompt", options->prompt, "Text before a caption; default: the model's");
  verb->add_option("--template", options->question_template,
                   "Prompt of a question, {} for it; default: the model's");
  verb->add_option("--data", options->data,
                   "Data file, list, folder or tar shards; see docs/data.md")
      ->required();
  verb->add_option("--report", options->report, "HTML file to write: the result and some pictures");
  verb->add_option("--results", options->results,
                   "JSONL file to write: each record's text and scores (caption, vqa)");
  verb->add_option("--generic-words", options->generic_words,
                   "Words, with commas between, that do not make a caption a hit: face,person")
      ->delimiter(',')
      ->allow_extra_args(false);
  verb->add_option("--clip", options->clip,
                   "Directory of a CLIP (transformers' CLIPModel): CLIPScore and RefCLIPScore are "
                   "computed too (caption)")
      ->check(CLI::ExistingDirectory);
  add_choice_flags(*verb, options->choice_flags);
  verb->add_option("--batch-size", options->batch_size, "Records at a time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  add_scoring_flags(*verb, *options);
  verb->add_option_function<std::string>(
          "--shared-captions",
          [options](const std::string& name) {
            options->shared = name == "any" ? SharedCaptions::any : SharedCaptions::own;
          },
          "How a caption of several pictures counts (retrieval). own: as one query for each of the "
          "pictures, for which only this picture is right, as in LAVIS; any: as one query, for "
          "which each of the pictures is right")
      ->check(CLI::IsMember({"own", "any"}))
      ->default_str("own");
  add_bad_share(*verb, options->bad_share);
  add_timeout(*verb, options->timeout);
  verb->callback([options, verb] {
    if (options->task != "retrieval") {
      settle_generation(*verb, options->run.model, options->generation);
    }
    settle_choice(*verb, *options);
    evaluate(*options);
  });
}

}  // namespace blip2

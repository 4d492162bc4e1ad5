#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "apps/blip2/bad_items.h"
#include "apps/blip2/choice_flags.h"
#include "apps/blip2/eval_output.h"
#include "apps/blip2/eval_scores.h"
#include "apps/blip2/generate.h"
#include "apps/blip2/generation_flags.h"
#include "apps/blip2/options.h"
#include "apps/blip2/retrieval_eval.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/log.h"
#include "blip2/base/progress.h"
#include "blip2/data/records.h"
#include "blip2/model/prompts.h"
#include "blip2/model/retrieval_model.h"
#include "blip2/nn/rank_work.h"
#include "blip2/nn/ranks.h"
#include "blip2/retrieval/caption_choice.h"

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

// Right answers of a record for the task; Error if the record is of another kind.
const std::vector<std::string>& right_answers(const Record& record, const EvalOptions& options) {
  const bool vqa = options.task == "vqa";
  if (record.is_question() != vqa) {
    throw Error(vqa ? "expected a question, got a caption" : "expected a caption, got a question",
                fmt::format("{}:{}", options.data, record.line));
  }
  return vqa ? record.answers : record.captions;
}

std::vector<PromptedImage> prompts_of(const EvalOptions& options, std::span<const Record> records,
                                      const Blip2Config& config) {
  const std::string pattern = options.question_template.value_or(config.question_prompt);
  const Prompt caption(options.prompt.value_or(config.caption_prompt));
  std::vector<PromptedImage> prompts;
  for (const Record& record : records) {
    prompts.push_back({record.image, record.is_question()
                                         ? fill_prompt(pattern, Prompt::plain(record.question))
                                         : caption});
  }
  return prompts;
}

// All processes' answers at rank 0.
std::vector<EvalAnswer> collect_answers(const Ranks* ranks, const std::vector<EvalAnswer>& own) {
  std::vector<std::string> texts, failures, probabilities;
  for (const EvalAnswer& answer : own) {
    texts.push_back(answer.text);
    failures.push_back(answer.failure);
    probabilities.push_back(answer.probability ? fmt::format("{}", *answer.probability) : "");
  }
  texts = collect_texts(ranks, std::move(texts));
  failures = collect_texts(ranks, std::move(failures));
  probabilities = collect_texts(ranks, std::move(probabilities));
  std::vector<EvalAnswer> answers;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    answers.push_back({std::move(texts[i]), std::move(failures[i])});
    if (!probabilities[i].empty()) answers.back().probability = std::stod(probabilities[i]);
  }
  return answers;
}

// The model's texts for some records in order, to `take`.
void generate_answers(const EvalOptions& options, std::span<const Record> records,
                      const std::function<void(EvalAnswer)>& take) {
  const GenerationModel model = open_generation_model(options.run);
  generate_in_batches(
      model, prompts_of(options, records, model.config()), options.generation, options.batch_size,
      [&](std::size_t, const std::vector<GeneratedText>& texts) { take({texts[0].text}); },
      [&](std::size_t, const std::string& what) {
        take({"", what});
      });
}

// The best of candidates for some records' pictures in order, to `take`.
void choose_answers(const EvalOptions& options, std::span<const Record> records,
                    const std::function<void(EvalAnswer)>& take) {
  apply_threads(options.run.threads);
  const CaptionChooser chooser(*options.choice);
  const auto batch = static_cast<std::size_t>(options.batch_size);
  for (std::size_t begin = 0; begin < records.size(); begin += batch) {
    if (interrupted()) throw Interrupted{};
    std::vector<std::string> images;
    for (std::size_t i = begin; i < std::min(begin + batch, records.size()); ++i) {
      images.push_back(records[i].image);
    }
    for (const ChosenCaption& chosen : chooser.choose(images)) {
      take({chosen.text, chosen.fault, chosen.probability});
    }
  }
}

// What the model says of each record, at rank 0.
std::vector<EvalAnswer> answers_of(const EvalOptions& options, const std::vector<Record>& records,
                                   const Ranks* ranks) {
  for (const Record& record : records) right_answers(record, options);
  const auto batch = static_cast<std::size_t>(options.batch_size);
  const IndexRange part = own_part(ranks, records.size(), batch);
  const auto own = std::span(records).subspan(part.begin, part.size());
  std::optional<Progress> progress;
  if (speaks(ranks)) progress.emplace(options.task, std::ssize(own));
  std::vector<EvalAnswer> answers;
  const auto take = [&](EvalAnswer answer) {
    if (ranks) ranks->check();
    answers.push_back(std::move(answer));
    if (progress) progress->update(std::ssize(answers));
  };
  if (options.choice) {
    choose_answers(options, own, take);
  } else {
    generate_answers(options, own, take);
  }
  if (progress) progress->finish();
  return collect_answers(ranks, answers);
}

// The answers of the records that stay in the file when those whose pictures cannot be read are
// gone.
std::vector<EvalAnswer> drop_unreadable(RecordFile& file, std::vector<EvalAnswer> answers,
                                        const BadRecordPolicy& policy) {
  std::map<std::string, std::string> unreadable;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i].failure.empty()) {
      unreadable.emplace(file.records[i].image, answers[i].failure);
    }
  }
  std::erase_if(answers, [](const EvalAnswer& answer) { return !answer.failure.empty(); });
  drop_pictures(file, unreadable, policy);
  return answers;
}

// Of all records; sets each answer's own scores.
ordered_json score_answers(const EvalOptions& options, const ScoreByClip& clip,
                           std::span<const Record> records, std::span<EvalAnswer> answers) {
  if (options.task == "vqa") return scores_of_questions(records, answers);
  mark_hits(options.generic_words, records, answers);
  if (clip) mark_clip_scores(clip, records, answers);
  return scores_of_captions(records, answers);
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
  const auto ranks = join_ranks(options.timeout);
  const BadRecordPolicy policy{.share = options.bad_share.value_or(1)};
  auto file = read_records(options.data, RecordUse::train, policy);
  const bool first = speaks(ranks.get());
  require_same(ranks.get(), options.data + ": records", std::to_string(file.records.size()));
  // Opened before the work of hours begins.
  const ScoreByClip clip = options.clip.empty() ? nullptr : open_clip(options.clip);
  ordered_json result;
  std::vector<EvalAnswer> answers;
  if (options.task == "retrieval") {
    apply_threads(options.run.threads);
    const Fusion fusion{options.fusion == "lavis" ? Fusion::lavis : Fusion::probability,
                        options.matching_weight};
    const RetrievalModel model(options.run.model, options.run.precision, bridge_type(options.run),
                               options.run.pictures);
    RetrievalResult retrieval = evaluate_retrieval(
        model, file, {options.rerank, fusion, options.shared, options.folds}, ranks.get());
    if (!first) return;
    drop_pictures(file, retrieval.unreadable, policy);
    result = std::move(retrieval.scores);
  } else {
    std::vector<EvalAnswer> all = answers_of(options, file.records, ranks.get());
    if (!first) return;
    answers = drop_unreadable(file, std::move(all), policy);
    result = score_answers(options, clip, file.records, answers);
  }
  if (!file.bad.empty()) result["bad"] = file.bad.size();
  if (!options.results.empty()) write_eval_results(options.results, file.records, answers);
  if (!options.report.empty()) {
    write_eval_report(options.report, options.task,
                      fmt::format("Model {}, data {}.", options.run.model, options.data), result,
                      file.records, answers);
  }
  print_result(options, result);
  report_bad(options, file);
}

// What --choose asks for; Error for what the task has not. Names are re-ranked as `caption` does it
// unless --rerank says otherwise.
void settle_choice(const CLI::App& verb, EvalOptions& options) {
  if (!options.results.empty() && options.task == "retrieval") {
    throw Error("expected the task caption or vqa", "--results",
                "retrieval has no text for each record");
  }
  if (!options.clip.empty() && options.task != "caption") {
    throw Error(fmt::format("expected the task caption, got {}", options.task), "--clip");
  }
  if (!options.choice_flags.on()) return;
  if (options.task != "caption") {
    throw Error(fmt::format("expected the task caption, got {}", options.task), "--choose");
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
                  "Candidates that matching re-ranks (retrieval; of --names: 32)")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  verb.add_option("--fusion", options.fusion,
                  "Score of a re-ranked pair: probability (cosine / temperature + log matching "
                  "probability) or lavis (cosine + matching logit)")
      ->check(CLI::IsMember({"probability", "lavis"}))
      ->capture_default_str();
  verb.add_option(
          "--folds", options.folds,
          "Parts of the pictures, in their order, that are measured apart as well, the mean "
          "under in_folds (retrieval): 5 of COCO's 5000 are its 5 x 1k")
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
                   "TOML file of these options, as recipes/eval_*.toml have those of the paper: "
                   "beams = 5. Options and variables beat it")
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
          "A caption that several pictures have (retrieval). own: it is as many queries, each with "
          "its own picture alone as right, as LAVIS measures; any: it is one query, and each of "
          "the pictures is right")
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

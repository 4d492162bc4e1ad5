#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "apps/blip2/bad_items.h"
#include "apps/blip2/generate.h"
#include "apps/blip2/generation_flags.h"
#include "apps/blip2/options.h"
#include "apps/blip2/retrieval_eval.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/log.h"
#include "blip2/base/progress.h"
#include "blip2/data/records.h"
#include "blip2/evaluation/caption_metrics.h"
#include "blip2/evaluation/exact_match.h"
#include "blip2/evaluation/html_report.h"
#include "blip2/evaluation/vqa_accuracy.h"
#include "blip2/io/tar_place.h"
#include "blip2/model/prompts.h"
#include "blip2/model/retrieval_model.h"
#include "blip2/nn/rank_work.h"
#include "blip2/nn/ranks.h"

namespace blip2 {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kNamed = 20;  // bad records that are named

struct EvalOptions {
  RunOptions run;
  GenerationOptions generation;
  std::string task, data, report, fusion = "probability";
  std::int64_t batch_size = 32, rerank = 128;
  double matching_weight = 1;
  std::optional<double> bad_share;
  SharedCaptions shared = SharedCaptions::own;
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

std::vector<PromptedImage> prompts_of(std::span<const Record> records, const Blip2Config& config) {
  std::vector<PromptedImage> prompts;
  for (const Record& record : records) {
    prompts.push_back(
        {record.image, record.is_question()
                           ? fill_prompt(config.question_prompt, Prompt::plain(record.question))
                           : Prompt(config.caption_prompt)});
  }
  return prompts;
}

// For each record the model's text or why its picture cannot be read.
struct Answers {
  std::vector<std::string> texts, failures;
};

// At rank 0.
Answers answers_of(const EvalOptions& options, const std::vector<Record>& records,
                   const Ranks* ranks) {
  for (const Record& record : records) right_answers(record, options);
  const GenerationModel model = open_generation_model(options.run);
  const auto batch = static_cast<std::size_t>(options.batch_size);
  const IndexRange part = own_part(ranks, records.size(), batch);
  const auto own = std::span(records).subspan(part.begin, part.size());
  std::optional<Progress> progress;
  if (speaks(ranks)) progress.emplace(options.task, std::ssize(own));
  Answers answers;
  const auto add = [&](std::size_t i, const std::string& text, const std::string& failure) {
    if (ranks) ranks->check();
    answers.texts.push_back(text);
    answers.failures.push_back(failure);
    if (progress) progress->update(static_cast<std::int64_t>(i) + 1);
  };
  generate_in_batches(
      model, prompts_of(own, model.config()), options.generation, options.batch_size,
      [&](std::size_t i, const auto& texts) { add(i, texts[0].text, ""); },
      [&](std::size_t i, const std::string& what) { add(i, "", what); });
  if (progress) progress->finish();
  return {collect_texts(ranks, std::move(answers.texts)),
          collect_texts(ranks, std::move(answers.failures))};
}

// The texts of the records that stay in the file when those whose pictures cannot be read are gone.
std::vector<std::string> drop_unreadable(RecordFile& file, Answers answers,
                                         const BadRecordPolicy& policy) {
  std::map<std::string, std::string> unreadable;
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < answers.texts.size(); ++i) {
    if (answers.failures[i].empty()) {
      texts.push_back(std::move(answers.texts[i]));
    } else {
      unreadable.emplace(file.records[i].image, answers.failures[i]);
    }
  }
  drop_pictures(file, unreadable, policy);
  return texts;
}

// The mean over records of score(answer, right answers).
template <typename Score>
double mean_score(const EvalOptions& options, const std::vector<Record>& records,
                  const std::vector<std::string>& answers, const Score& score) {
  double sum = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    sum += static_cast<double>(score(answers[i], right_answers(records[i], options)));
  }
  return sum / static_cast<double>(records.size());
}

ordered_json score_answers(const EvalOptions& options, const std::vector<Record>& records,
                           const std::vector<std::string>& answers) {
  if (options.task == "vqa") {
    return {{"accuracy", mean_score(options, records, answers, vqa_accuracy)},
            {"questions", records.size()}};
  }
  std::vector<CaptionTexts> references;
  for (const Record& record : records) references.emplace_back(record.captions);
  const CaptionScores scores = summarise(score_texts(answers, references));
  return {{"exact", mean_score(options, records, answers, equals_any)},
          {"bleu", scores.bleu},
          {"rouge_l", scores.rouge_l},
          {"cider", scores.cider},
          {"captions", records.size()}};
}

// The result and the first records as pictures with the right answer and the model's.
void write_report(const EvalOptions& options, const ordered_json& result,
                  const std::vector<Record>& records, const std::vector<std::string>& answers) {
  constexpr std::size_t kShown = 60;
  HtmlReport report("blip2 eval: " + options.task);
  report.paragraph(fmt::format("Model {}, data {}.", options.run.model, options.data));
  report.preformatted(result.dump(2));
  std::vector<ReportPicture> pictures;
  for (std::size_t i = 0; i < std::min(kShown, answers.size()); ++i) {
    const auto& right = right_answers(records[i], options);
    ReportPicture picture{read_source(records[i].image), {}};
    if (records[i].is_question()) picture.lines.push_back(records[i].question);
    picture.lines.push_back(answers[i]);
    picture.lines.push_back(equals_any(answers[i], right) ? "right"
                                                          : "it is: " + first_text(right));
    pictures.push_back(std::move(picture));
  }
  report.pictures(pictures);
  write_file(options.report, report.html());
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
  ordered_json result;
  std::vector<std::string> answers;
  if (options.task == "retrieval") {
    apply_threads(options.run.threads);
    const Fusion fusion{options.fusion == "lavis" ? Fusion::lavis : Fusion::probability,
                        options.matching_weight};
    const RetrievalModel model(options.run.model, options.run.precision, bridge_type(options.run),
                               options.run.pictures);
    RetrievalResult retrieval =
        evaluate_retrieval(model, file, options.rerank, fusion, options.shared, ranks.get());
    if (!first) return;
    drop_pictures(file, retrieval.unreadable, policy);
    result = std::move(retrieval.scores);
  } else {
    Answers all = answers_of(options, file.records, ranks.get());
    if (!first) return;
    answers = drop_unreadable(file, std::move(all), policy);
    result = score_answers(options, file.records, answers);
  }
  if (!file.bad.empty()) result["bad"] = file.bad.size();
  if (!options.report.empty()) write_report(options, result, file.records, answers);
  print_result(options, result);
  report_bad(options, file);
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
  verb->add_option("--data", options->data,
                   "Data file, list, folder or tar shards; see docs/data.md")
      ->required();
  verb->add_option("--report", options->report, "HTML file to write: the result and some pictures");
  verb->add_option("--batch-size", options->batch_size, "Records at a time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  verb->add_option("--rerank", options->rerank, "Candidates that matching re-ranks (retrieval)")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  verb->add_option("--fusion", options->fusion,
                   "Score of a re-ranked pair: probability (cosine / temperature + log matching "
                   "probability) or lavis (cosine + matching logit)")
      ->check(CLI::IsMember({"probability", "lavis"}))
      ->capture_default_str();
  verb->add_option("--matching-weight", options->matching_weight,
                   "Weight of matching beside contrast (retrieval)")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
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
    evaluate(*options);
  });
}

}  // namespace blip2

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "apps/blip2/generate.h"
#include "apps/blip2/generation_flags.h"
#include "apps/blip2/options.h"
#include "apps/blip2/retrieval_eval.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/error.h"
#include "blip2/base/progress.h"
#include "blip2/data/records.h"
#include "blip2/evaluation/exact_match.h"
#include "blip2/model/prompts.h"

namespace blip2 {
namespace {

struct EvalOptions {
  RunOptions run;
  GenerationOptions generation;
  std::string task, data;
  std::int64_t batch_size = 32, rerank = 128;
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

// The share of records whose generated text equals a right one.
double exact_share(const EvalOptions& options, const std::vector<Record>& records) {
  const GenerationModel model = open_generation_model(options.run);
  std::vector<PromptedImage> prompts;
  for (const Record& record : records) {
    right_answers(record, options);
    prompts.push_back(
        {record.image, record.is_question()
                           ? fill_prompt(model.config().question_prompt, record.question)
                           : model.config().caption_prompt});
  }
  Progress progress(options.task, std::ssize(records));
  std::int64_t right = 0;
  generate_in_batches(model, prompts, options.generation, options.batch_size,
                      [&](std::size_t i, const std::vector<GeneratedText>& texts) {
                        right += equals_any(texts[0].text, right_answers(records[i], options));
                        progress.update(static_cast<std::int64_t>(i) + 1);
                      });
  const double share = static_cast<double>(right) / static_cast<double>(records.size());
  progress.finish(fmt::format("{:.2f} % exact", 100 * share));
  return share;
}

void print_result(const EvalOptions& options, const nlohmann::ordered_json& result) {
  if (options.run.json) {
    print_json(result);
  } else {
    print_line(result.dump(2));
  }
}

void evaluate(const EvalOptions& options) {
  const auto file = read_records(options.data, RecordUse::train, {.share = 0});
  if (options.task == "retrieval") {
    apply_threads(options.run.threads);
    return print_result(options, evaluate_retrieval(options.run.model, file, options.rerank));
  }
  const double share = exact_share(options, file.records);
  if (options.task == "vqa") {
    print_result(options, {{"accuracy", share}, {"questions", file.records.size()}});
  } else {
    print_result(options, {{"exact", share}, {"captions", file.records.size()}});
  }
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
  verb->add_option("--data", options->data, "JSONL data file")->required();
  verb->add_option("--batch-size", options->batch_size, "Records at a time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  verb->add_option("--rerank", options->rerank, "Candidates that matching re-ranks (retrieval)")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  verb->callback([options] { evaluate(*options); });
}

}  // namespace blip2

#include <fmt/format.h>

#include <limits>
#include <memory>

#include "apps/blip2/generate.h"
#include "apps/blip2/generation_flags.h"
#include "apps/blip2/verbs.h"
#include "blip2/data/records.h"
#include "blip2/model/prompts.h"

namespace blip2 {
namespace {

struct VqaOptions : WritingOptions {
  std::string question, questions_from;
  std::optional<std::string> question_template;
};

// The records of a file, good and bad, in its order.
std::vector<AskedPicture> read_questions(const VqaOptions& options) {
  const double share = options.inputs.bad_share.value_or(1);
  const RecordFile file = read_records(options.questions_from, RecordUse::ask, {.share = share});
  std::vector<AskedPicture> asked;
  auto bad = file.bad.begin();
  const auto add_bad_before = [&](std::size_t line) {
    for (; bad != file.bad.end() && bad->line < line; ++bad) {
      AskedPicture& one = asked.emplace_back();
      one.failure = fmt::format("{}: {}", place_of(file, *bad), bad->what);
    }
  };
  for (const Record& record : file.records) {
    add_bad_before(record.line);
    const bool own = record.image_id != record.image;
    asked.push_back(
        {record.image, record.question, own ? record.image_id : "", record.question_id});
    if (record.is_question()) continue;
    asked.back().failure =
        fmt::format("{}:{}: expected a question", options.questions_from, record.line);
  }
  add_bad_before(std::numeric_limits<std::size_t>::max());
  return asked;
}

std::vector<AskedPicture> questions_of(const VqaOptions& options) {
  if (!options.questions_from.empty()) return read_questions(options);
  if (options.question.empty()) {
    throw CLI::ValidationError("vqa", "expected --question or --questions-from");
  }
  std::vector<AskedPicture> asked;
  for (const std::string& path : image_paths(options.inputs))
    asked.push_back({path, options.question});
  return asked;
}

void answer(const VqaOptions& options) {
  print_texts(options, questions_of(options), ResultFile(options.results, "question_id", "answer"),
              "answer", [&](const AskedPicture& asked, const Blip2Config& config) {
                return fill_prompt(options.question_template.value_or(config.question_prompt),
                                   typed_text(asked.question, options.special_tokens));
              });
}

}  // namespace

void add_vqa(CLI::App& app) {
  auto* verb = app.add_subcommand("vqa", "Answer questions about pictures");
  auto options = std::make_shared<VqaOptions>();
  options->generation.beams = 5;
  options->generation.max_new_tokens = 10;
  options->generation.length_penalty = -1;
  add_writing_options(*verb, *options, "Questions");
  verb->add_option("--question", options->question, "The question, about every picture");
  verb->add_option("--questions-from", options->questions_from,
                   "JSONL file of records with an image and a question");
  verb->add_option("--vqa-results", options->results,
                   "File to write as VQAv2's server takes it: a list of question_id and answer")
      ->needs("--questions-from");
  verb->add_option("--template", options->question_template,
                   "Prompt with {} for the question; default: the model's. Special tokens count");
  verb->callback([options, verb] {
    settle_generation(*verb, options->run.model, options->generation);
    answer(*options);
  });
}

}  // namespace blip2

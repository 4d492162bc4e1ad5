#include <fmt/format.h>

#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/blip2/bad_items.h"
#include "apps/blip2/generate.h"
#include "apps/blip2/generation_flags.h"
#include "apps/blip2/options.h"
#include "apps/blip2/result_file.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/error.h"
#include "blip2/data/records.h"
#include "blip2/model/prompts.h"

namespace blip2 {
namespace {

struct VqaOptions {
  RunOptions run;
  ImageInputs inputs;
  GenerationOptions generation;
  std::string question, questions_from, results;
  std::optional<std::string> question_template;
  bool special_tokens = false;
  std::int64_t batch_size = 8;
};

struct Asked {
  std::string image, question, image_id = {}, question_id = {};
  std::string failure = {};  // why it cannot be answered
};

// The records of a file, good and bad, in its order.
std::vector<Asked> read_questions(const VqaOptions& options) {
  const double share = options.inputs.bad_share.value_or(1);
  const RecordFile file = read_records(options.questions_from, RecordUse::ask, {.share = share});
  std::vector<Asked> asked;
  auto bad = file.bad.begin();
  const auto add_bad_before = [&](std::size_t line) {
    for (; bad != file.bad.end() && bad->line < line; ++bad) {
      Asked& one = asked.emplace_back();
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

std::vector<Asked> questions_of(const VqaOptions& options) {
  if (!options.questions_from.empty()) return read_questions(options);
  if (options.question.empty()) throw Error("expected --question or --questions-from", "vqa");
  std::vector<Asked> asked;
  for (const std::string& path : image_paths(options.inputs))
    asked.push_back({path, options.question});
  return asked;
}

nlohmann::ordered_json answer_object(const Asked& asked, const GeneratedText& answer) {
  nlohmann::ordered_json object{{"image", asked.image}, {"question", asked.question}};
  if (!asked.image_id.empty()) object["image_id"] = id_value(asked.image_id);
  if (!asked.question_id.empty()) object["question_id"] = id_value(asked.question_id);
  object["answer"] = answer.text;
  object["tokens"] = answer.tokens;
  object["score"] = answer.score;
  return object;
}

void answer(const VqaOptions& options) {
  const auto asked = questions_of(options);
  ResultFile results(options.results, "question_id", "answer");
  for (const Asked& item : asked) {
    if (item.failure.empty()) results.expect(item.question_id, item.question);
  }
  const GenerationModel model = open_generation_model(options.run);
  const std::string pattern = options.question_template.value_or(model.config().question_prompt);
  std::vector<PromptedImage> prompts;
  for (const Asked& item : asked) {
    const Prompt question = typed_text(item.question, options.special_tokens);
    prompts.push_back({item.image, fill_prompt(pattern, question), item.failure});
  }
  BadItems bad(options.run.json, options.inputs.bad_share);
  generate_in_batches(
      model, prompts, options.generation, options.batch_size,
      [&](std::size_t i, const std::vector<GeneratedText>& texts) {
        results.add(asked[i].question_id, texts.front().text);
        for (const GeneratedText& text : texts) {
          if (options.run.json) {
            print_json(answer_object(asked[i], text));
          } else {
            print_row({asked[i].image, asked[i].question, text.text});
          }
        }
      },
      [&](std::size_t i, const std::string& what) { bad.add(asked[i].image, what); });
  results.write();
  bad.finish(asked.size());
}

}  // namespace

void add_vqa(CLI::App& app) {
  auto* verb = app.add_subcommand("vqa", "Answer questions about pictures");
  auto options = std::make_shared<VqaOptions>();
  options->generation.beams = 5;
  options->generation.max_new_tokens = 10;
  options->generation.length_penalty = -1;
  add_run_options(*verb, options->run);
  add_image_inputs(*verb, options->inputs);
  add_generation_flags(*verb, options->generation);
  verb->add_option("--question", options->question, "The question, about every picture");
  verb->add_option("--questions-from", options->questions_from,
                   "JSONL file of records with an image and a question");
  verb->add_option("--vqa-results", options->results,
                   "File to write as VQAv2's server takes it: a list of question_id and answer")
      ->needs("--questions-from");
  verb->add_option("--template", options->question_template,
                   "Prompt with {} for the question; default: the model's. Special tokens count");
  add_special_tokens_flag(*verb, options->special_tokens);
  verb->add_option("--batch-size", options->batch_size, "Questions at a time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  verb->callback([options, verb] {
    settle_generation(*verb, options->run.model, options->generation);
    answer(*options);
  });
}

}  // namespace blip2

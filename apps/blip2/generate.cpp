#include "apps/blip2/generate.h"

#include <nlohmann/json.hpp>

#include "apps/blip2/generation_flags.h"
#include "blip2/base/allocation.h"

namespace blip2 {
namespace {

void print_text(const AskedPicture& asked, const GeneratedText& text, const char* key, bool json) {
  if (!json && asked.question.empty()) return print_row({asked.image, text.text});
  if (!json) return print_row({asked.image, asked.question, text.text});
  nlohmann::ordered_json object = object_of(asked);
  object[key] = text.text;
  object["tokens"] = text.tokens;
  object["score"] = text.score;
  print_json(object);
}

}  // namespace

GenerationModel open_generation_model(const RunOptions& options) {
  apply_threads(options.threads);
  GenerationModel model(options.model, options.precision, bridge_type(options), options.pictures);
  give_back_library("libtorch");  // what loading alone needs
  return model;
}

void add_writing_options(CLI::App& verb, WritingOptions& options, const std::string& items) {
  add_run_options(verb, options.run);
  add_image_inputs(verb, options.inputs);
  add_generation_flags(verb, options.generation);
  add_special_tokens_flag(verb, options.special_tokens);
  verb.add_flag("--chat", options.chat,
                "Put each prompt into a user's turn of the language model's chat template");
  verb.add_option("--batch-size", options.batch_size, items + " at a time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
}

nlohmann::ordered_json object_of(const AskedPicture& asked) {
  nlohmann::ordered_json object{{"image", asked.image}};
  if (!asked.question.empty()) object["question"] = asked.question;
  if (!asked.image_id.empty()) object["image_id"] = id_value(asked.image_id);
  if (!asked.question_id.empty()) object["question_id"] = id_value(asked.question_id);
  return object;
}

const std::string& id_of(const AskedPicture& asked) {
  return asked.question.empty() ? asked.image_id : asked.question_id;
}

void expect_all(ResultFile& results, const std::vector<AskedPicture>& asked) {
  for (const AskedPicture& one : asked) {
    if (!one.failure.empty()) continue;
    results.expect(id_of(one), one.question.empty() ? one.image : one.question);
  }
}

void print_texts(const WritingOptions& options, const std::vector<AskedPicture>& asked,
                 ResultFile results, const char* key,
                 const std::function<Prompt(const AskedPicture&, const Blip2Config&)>& prompt_of) {
  expect_all(results, asked);
  GenerationModel model = open_generation_model(options.run);
  if (options.chat) model.use_chat_template();
  std::vector<PromptedImage> prompts;
  for (const AskedPicture& one : asked) {
    prompts.push_back({one.image, prompt_of(one, model.config()), one.failure});
  }
  BadItems bad(options.run.json, options.inputs.bad_share);
  generate_in_batches(
      model, prompts, options.generation, options.batch_size,
      [&](std::size_t i, const std::vector<GeneratedText>& texts) {
        results.add(id_of(asked[i]), texts.front().text);
        for (const GeneratedText& text : texts) print_text(asked[i], text, key, options.run.json);
      },
      [&](std::size_t i, const std::string& what) { bad.add(asked[i].image, what); });
  results.write();
  bad.finish(asked.size());
}

}  // namespace blip2

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "apps/blip2/bad_items.h"
#include "apps/blip2/generate.h"
#include "apps/blip2/generation_flags.h"
#include "apps/blip2/options.h"
#include "apps/blip2/result_file.h"
#include "apps/blip2/verbs.h"

namespace blip2 {
namespace {

struct CaptionOptions {
  RunOptions run;
  ImageInputs inputs;
  GenerationOptions generation;
  std::optional<std::string> prompt;
  std::string results;
  bool special_tokens = false;
  std::int64_t batch_size = 8;
};

nlohmann::ordered_json caption_object(const ListedImage& listed, const GeneratedText& caption) {
  nlohmann::ordered_json object{{"image", listed.image}};
  if (!listed.id.empty()) object["image_id"] = id_value(listed.id);
  object["text"] = caption.text;
  object["tokens"] = caption.tokens;
  object["score"] = caption.score;
  return object;
}

void caption(const CaptionOptions& options) {
  const auto listed = listed_images(options.inputs);
  ResultFile results(options.results, "image_id", "caption");
  for (const ListedImage& item : listed) results.expect(item.id, item.image);
  const GenerationModel model = open_generation_model(options.run);
  const Prompt prompt = options.prompt ? typed_text(*options.prompt, options.special_tokens)
                                       : Prompt(model.config().caption_prompt);
  std::vector<PromptedImage> questions;
  for (const ListedImage& item : listed) questions.push_back({item.image, prompt});
  BadItems bad(options.run.json, options.inputs.bad_share);
  generate_in_batches(
      model, questions, options.generation, options.batch_size,
      [&](std::size_t i, const std::vector<GeneratedText>& texts) {
        results.add(listed[i].id, texts.front().text);
        for (const GeneratedText& text : texts) {
          if (options.run.json) {
            print_json(caption_object(listed[i], text));
          } else {
            print_row({listed[i].image, text.text});
          }
        }
      },
      [&](std::size_t i, const std::string& what) { bad.add(listed[i].image, what); });
  results.write();
  bad.finish(listed.size());
}

}  // namespace

void add_caption(CLI::App& app) {
  auto* verb = app.add_subcommand("caption", "Describe pictures");
  auto options = std::make_shared<CaptionOptions>();
  options->generation.beams = 5;
  options->generation.max_new_tokens = 30;
  add_run_options(*verb, options->run);
  add_image_inputs(*verb, options->inputs);
  add_generation_flags(*verb, options->generation);
  verb->add_option("--prompt", options->prompt, "Text before the caption; default: the model's");
  verb->add_option("--coco-results", options->results,
                   "File to write as COCO's server takes it: a list of image_id and caption")
      ->needs("--images-from");
  add_special_tokens_flag(*verb, options->special_tokens);
  verb->add_option("--batch-size", options->batch_size, "Pictures at a time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  verb->callback([options, verb] {
    settle_generation(*verb, options->run.model, options->generation);
    caption(*options);
  });
}

}  // namespace blip2

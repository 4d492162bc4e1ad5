#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>

#include "apps/blip2/bad_items.h"
#include "apps/blip2/choice_flags.h"
#include "apps/blip2/generate.h"
#include "apps/blip2/generation_flags.h"
#include "apps/blip2/options.h"
#include "apps/blip2/result_file.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/interrupt.h"

namespace blip2 {
namespace {

using nlohmann::ordered_json;

struct CaptionOptions {
  RunOptions run;
  ImageInputs inputs;
  GenerationOptions generation;
  std::optional<std::string> prompt;
  std::string results;
  bool special_tokens = false;
  std::int64_t batch_size = 8;
  ChoiceFlags choice;
  LabelOptions ranking;
  double min_probability = 0;
};

ordered_json id_of(const ListedImage& listed) {
  ordered_json object{{"image", listed.image}};
  if (!listed.id.empty()) object["image_id"] = id_value(listed.id);
  return object;
}

ordered_json caption_object(const ListedImage& listed, const GeneratedText& caption) {
  ordered_json object = id_of(listed);
  object["text"] = caption.text;
  object["tokens"] = caption.tokens;
  object["score"] = caption.score;
  return object;
}

void print_chosen(const CaptionOptions& options, const ListedImage& listed,
                  const ChosenCaption& chosen) {
  const bool sure = chosen.probability >= options.min_probability;
  if (!options.run.json) {
    return print_row(
        {listed.image, sure ? chosen.text : "not sure", fmt::format("{:.4f}", chosen.probability)});
  }
  const auto& written = chosen.generated;
  ordered_json object = id_of(listed);
  object["text"] = sure ? ordered_json(chosen.text) : ordered_json();
  object["tokens"] = sure && written ? ordered_json(written->tokens) : ordered_json();
  object["score"] = sure && written ? ordered_json(written->score) : ordered_json();
  object["probability"] = chosen.probability;
  object["itc"] = chosen.itc;
  object["itm"] = chosen.itm ? ordered_json(*chosen.itm) : ordered_json();
  print_json(object);
}

// The best of candidates for each picture; into the file of results whether sure or not.
void choose_captions(const CaptionOptions& options, CaptionChoiceOptions choice) {
  const auto listed = listed_images(options.inputs);
  ResultFile results(options.results, "image_id", "caption");
  for (const ListedImage& item : listed) results.expect(item.id, item.image);
  if (options.prompt) choice.prompt = typed_text(*options.prompt, options.special_tokens);
  apply_threads(options.run.threads);
  const CaptionChooser chooser(choice);
  BadItems bad(options.run.json, options.inputs.bad_share);
  const auto batch = static_cast<std::size_t>(options.batch_size);
  for (std::size_t begin = 0; begin < listed.size(); begin += batch) {
    if (interrupted()) throw Interrupted{};
    std::vector<std::string> paths;
    for (std::size_t i = begin; i < std::min(begin + batch, listed.size()); ++i) {
      paths.push_back(listed[i].image);
    }
    const auto chosen = chooser.choose(paths);
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      if (!chosen[i].fault.empty()) {
        bad.add(paths[i], chosen[i].fault);
        continue;
      }
      results.add(listed[begin + i].id, chosen[i].text);
      print_chosen(options, listed[begin + i], chosen[i]);
    }
  }
  results.write();
  bad.finish(listed.size());
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
  add_choice_flags(*verb, options->choice);
  add_ranking_flags(*verb, options->ranking);
  for (const char* flag : {"--rerank", "--matching-weight"}) {
    verb->get_option(flag)->needs(verb->get_option("--choose"));
  }
  verb->add_option("--min-probability", options->min_probability,
                   "Say \"not sure\" (JSON: null) where the best candidate is less probable")
      ->needs(verb->get_option("--choose"))
      ->check(CLI::Range(0.0, 1.0))
      ->check([](const std::string& text) {
        return std::isnan(std::strtod(text.c_str(), nullptr)) ? "expected a number"
                                                              : "";  // Range takes it
      });
  verb->add_option("--batch-size", options->batch_size, "Pictures at a time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  verb->callback([options, verb] {
    settle_generation(*verb, options->run.model, options->generation);
    if (!options->choice.on()) return caption(*options);
    choose_captions(*options, choice_options(*verb, options->run, options->choice, options->ranking,
                                             options->generation));
  });
}

}  // namespace blip2

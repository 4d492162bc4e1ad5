#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "apps/blip2/choice_flags.h"
#include "apps/blip2/generate.h"
#include "apps/blip2/generation_flags.h"
#include "apps/blip2/verbs.h"

namespace blip2 {
namespace {

using nlohmann::ordered_json;

struct CaptionOptions : WritingOptions {
  std::optional<std::string> prompt;
  ChoiceFlags choice;
  LabelOptions ranking;
  double min_probability = 0;
};

void print_chosen(const CaptionOptions& options, const AskedPicture& asked,
                  const ChosenCaption& chosen) {
  const bool sure = chosen.probability >= options.min_probability;
  if (!options.run.json) {
    return print_row(
        {asked.image, sure ? chosen.text : "not sure", fmt::format("{:.4f}", chosen.probability)});
  }
  const auto& written = chosen.generated;
  ordered_json object = object_of(asked);
  object["text"] = sure ? ordered_json(chosen.text) : ordered_json();
  object["tokens"] = sure && written ? ordered_json(written->tokens) : ordered_json();
  object["score"] = sure && written ? ordered_json(written->score) : ordered_json();
  object["probability"] = chosen.probability;
  object["itc"] = chosen.itc;
  object["itm"] = chosen.itm ? ordered_json(*chosen.itm) : ordered_json();
  print_json(object);
}

// The best of candidates for each picture; into the file of results whether sure or not.
void choose_captions(const CaptionOptions& options, const std::vector<AskedPicture>& asked,
                     ResultFile results, CaptionChoiceOptions choice) {
  expect_all(results, asked);
  if (options.prompt) choice.prompt = typed_text(*options.prompt, options.special_tokens);
  apply_threads(options.run.threads);
  const CaptionChooser chooser(choice);
  BadItems bad(options.run.json, options.inputs.bad_share);
  std::vector<std::string> images;
  for (const AskedPicture& one : asked) images.push_back(one.image);
  chooser.choose_in_batches(images, options.batch_size, [&](std::size_t i, ChosenCaption chosen) {
    if (!chosen.fault.empty()) return bad.add(images[i], chosen.fault);
    results.add(asked[i].image_id, chosen.text);
    print_chosen(options, asked[i], chosen);
  });
  results.write();
  bad.finish(asked.size());
}

void caption(const CLI::App& verb, const CaptionOptions& options) {
  std::vector<AskedPicture> asked;
  for (const auto& [image, id] : listed_images(options.inputs)) asked.push_back({image, "", id});
  ResultFile results(options.results, "image_id", "caption");
  if (options.choice.on()) {
    return choose_captions(
        options, asked, std::move(results),
        choice_options(verb, options.run, options.choice, options.ranking, options.generation));
  }
  print_texts(options, asked, std::move(results), "text",
              [&](const AskedPicture&, const Blip2Config& config) {
                return options.prompt ? typed_text(*options.prompt, options.special_tokens)
                                      : Prompt(config.caption_prompt);
              });
}

}  // namespace

void add_caption(CLI::App& app) {
  auto* verb = app.add_subcommand("caption", "Describe pictures");
  auto options = std::make_shared<CaptionOptions>();
  options->generation.beams = 5;
  options->generation.max_new_tokens = 30;
  add_writing_options(*verb, *options, "Pictures");
  verb->add_option("--prompt", options->prompt, "Text before the caption; default: the model's");
  verb->add_option("--coco-results", options->results,
                   "File to write as COCO's server takes it: a list of image_id and caption")
      ->needs("--images-from");
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
  verb->callback([options, verb] {
    settle_generation(*verb, options->run.model, options->generation);
    caption(*verb, *options);
  });
}

}  // namespace blip2

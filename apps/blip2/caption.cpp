#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>

#include "apps/blip2/choice_flags.h"
#include "apps/blip2/generate.h"
#include "apps/blip2/generation_flags.h"
#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/interrupt.h"

namespace blip2 {
namespace {

struct CaptionOptions {
  RunOptions run;
  ImageInputs inputs;
  GenerationOptions generation;
  std::optional<std::string> prompt;
  std::int64_t batch_size = 8;
  ChoiceFlags choice;
  LabelOptions ranking;
  double min_probability = 0;
};

void print_chosen(const CaptionOptions& options, const std::string& image,
                  const ChosenCaption& chosen) {
  const bool sure = chosen.probability >= options.min_probability;
  if (!options.run.json) {
    return print_line(
        fmt::format("{}\t{}\t{:.4f}", image, sure ? chosen.text : "not sure", chosen.probability));
  }
  const auto& written = chosen.generated;
  using nlohmann::ordered_json;
  print_json({{"image", image},
              {"text", sure ? ordered_json(chosen.text) : ordered_json()},
              {"tokens", sure && written ? ordered_json(written->tokens) : ordered_json()},
              {"score", sure && written ? ordered_json(written->score) : ordered_json()},
              {"probability", chosen.probability},
              {"itc", chosen.itc},
              {"itm", chosen.itm ? ordered_json(*chosen.itm) : ordered_json()}});
}

// The best of candidates for each picture.
void choose_captions(const CaptionOptions& options, CaptionChoiceOptions choice) {
  const auto paths = image_paths(options.inputs);
  choice.prompt = options.prompt;
  apply_threads(options.run.threads);
  const CaptionChooser chooser(choice);
  const auto batch = static_cast<std::size_t>(options.batch_size);
  std::size_t bad = 0;
  for (std::size_t begin = 0; begin < paths.size(); begin += batch) {
    if (interrupted()) throw Interrupted{};
    const std::size_t count = std::min(batch, paths.size() - begin);
    const auto chosen = chooser.choose(std::span(paths).subspan(begin, count));
    for (std::size_t i = 0; i < count; ++i) {
      const std::string& path = paths[begin + i];
      bad += !chosen[i].fault.empty();
      if (chosen[i].fault.empty()) {
        print_chosen(options, path, chosen[i]);
      } else {
        print_fault(path, chosen[i].fault, options.run.json);
      }
    }
  }
  require_all_read(bad, paths.size());
}

void caption(const CaptionOptions& options) {
  const auto paths = image_paths(options.inputs);
  const GenerationModel model = open_generation_model(options.run);
  const std::string prompt = options.prompt.value_or(model.config().caption_prompt);
  std::vector<PromptedImage> questions;
  for (const std::string& path : paths) questions.push_back({path, prompt});
  generate_in_batches(model, questions, options.generation, options.batch_size,
                      [&](std::size_t i, const std::vector<GeneratedText>& texts) {
                        for (const GeneratedText& text : texts) {
                          if (options.run.json) {
                            print_json({{"image", paths[i]},
                                        {"text", text.text},
                                        {"tokens", text.tokens},
                                        {"score", text.score}});
                          } else {
                            print_line(fmt::format("{}\t{}", paths[i], text.text));
                          }
                        }
                      });
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
    settle_beams(*verb, options->generation);
    if (!options->choice.on()) return caption(*options);
    choose_captions(*options, choice_options(*verb, options->run, options->choice, options->ranking,
                                             options->generation));
  });
}

}  // namespace blip2

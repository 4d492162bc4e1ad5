#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "apps/blip2/bad_items.h"
#include "apps/blip2/generate.h"
#include "apps/blip2/generation_flags.h"
#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"

namespace blip2 {
namespace {

struct CaptionOptions {
  RunOptions run;
  ImageInputs inputs;
  GenerationOptions generation;
  std::optional<std::string> prompt;
  std::int64_t batch_size = 8;
};

void caption(const CaptionOptions& options) {
  const auto paths = image_paths(options.inputs);
  const GenerationModel model = open_generation_model(options.run);
  const std::string prompt = options.prompt.value_or(model.config().caption_prompt);
  std::vector<PromptedImage> questions;
  for (const std::string& path : paths) questions.push_back({path, prompt});
  BadItems bad(options.run.json, options.inputs.bad_share);
  generate_in_batches(
      model, questions, options.generation, options.batch_size,
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
      },
      [&](std::size_t i, const std::string& what) { bad.add(paths[i], what); });
  bad.finish(paths.size());
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
  verb->add_option("--batch-size", options->batch_size, "Pictures at a time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  verb->callback([options, verb] {
    settle_beams(*verb, options->generation);
    caption(*options);
  });
}

}  // namespace blip2

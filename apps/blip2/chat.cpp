#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/blip2/generate.h"
#include "apps/blip2/generation_flags.h"
#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/log.h"
#include "blip2/model/prompts.h"

namespace blip2 {
namespace {

struct ChatOptions {
  RunOptions run;
  GenerationOptions generation;
  std::string image;
  bool special_tokens = false;
};

// A dialogue as LAVIS's demo keeps it: earlier questions and answers stand before the new prompt.
void chat(const ChatOptions& options) {
  const GenerationModel model = open_generation_model(options.run);
  const at::InferenceMode inference;
  const auto picture = model.project_images(std::span(&options.image, 1));
  Prompt dialogue;
  log_line("Ask about the picture; an empty line or end of input ends the chat.");
  for (std::string question; !interrupted();) {
    std::cerr << "> " << std::flush;
    if (!std::getline(std::cin, question) || question.empty()) return;
    dialogue.add(
        fill_prompt(model.config().question_prompt, typed_text(question, options.special_tokens)));
    const auto answers = model.generate(picture, std::span(&dialogue, 1), options.generation);
    const std::string& answer = answers[0][0].text;
    if (options.run.json) {
      print_json({{"question", question}, {"answer", answer}});
    } else {
      print_row({answer});
      std::fflush(stdout);
    }
    dialogue.add_plain(" " + answer + " ");
  }
  throw Interrupted{};
}

}  // namespace

void add_chat(CLI::App& app) {
  auto* verb = app.add_subcommand("chat", "Talk about a picture");
  auto options = std::make_shared<ChatOptions>();
  options->generation.max_new_tokens = 30;
  add_run_options(*verb, options->run);
  add_generation_flags(*verb, options->generation);
  add_special_tokens_flag(*verb, options->special_tokens);
  verb->add_option("IMAGE", options->image, "A picture: JPEG, PNG or WebP")->required();
  verb->callback([options, verb] {
    settle_generation(*verb, options->run.model, options->generation);
    chat(*options);
  });
}

}  // namespace blip2

#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "apps/blip2/generate.h"
#include "apps/blip2/generation_flags.h"
#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/log.h"
#include "blip2/io/picture_format.h"
#include "blip2/model/prompts.h"

namespace blip2 {
namespace {

struct ChatOptions {
  RunOptions run;
  GenerationOptions generation;
  std::string image;
  bool special_tokens = false;
  bool chat_template = false, no_chat_template = false;
};

// The prompts of a dialogue, which keeps what was said.
class Dialogue {
 public:
  explicit Dialogue(const GenerationModel& model) : model_(model) {}

  Prompt ask(const Prompt& question) {
    const Prompt prompt = fill_prompt(model_.config().question_prompt, question);
    if (!model_.chat()) return text_.add(prompt);
    turns_.push_back({"user", prompt});
    return model_.chat()->apply(turns_, prompt_choices());
  }
  void answer(const std::string& answer) {
    text_.add_plain(" " + answer + " ");
    turns_.push_back({"assistant", Prompt::plain(answer)});
  }

 private:
  const GenerationModel& model_;
  Prompt text_;  // as LAVIS's demo keeps it: questions and answers one behind the other
  std::vector<ChatMessage> turns_;
};

// A model of chats unless the options say otherwise.
GenerationModel open_chat_model(const ChatOptions& options) {
  GenerationModel model = open_generation_model(options.run);
  const bool has_template = !model.tokenizer().chat_template().text.empty();
  model.use_chat_template(options.chat_template || (has_template && !options.no_chat_template));
  return model;
}

void chat(const ChatOptions& options) {
  const GenerationModel model = open_chat_model(options);
  const at::InferenceMode inference;
  const auto picture = model.project_images(std::span(&options.image, 1));
  Dialogue dialogue(model);
  log_line("Ask about the picture; an empty line or end of input ends the chat.");
  for (std::string question; !interrupted();) {
    std::cerr << "> " << std::flush;
    if (!std::getline(std::cin, question) || question.empty()) return;
    const Prompt prompt = dialogue.ask(typed_text(question, options.special_tokens));
    const auto answers = model.generate(picture, std::span(&prompt, 1), options.generation);
    const std::string& answer = answers[0][0].text;
    if (options.run.json) {
      print_json({{"question", question}, {"answer", answer}});
    } else {
      print_row({answer});
      std::fflush(stdout);
    }
    dialogue.answer(answer);
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
  auto* const by_template =
      verb->add_flag("--chat-template", options->chat_template,
                     "Write the dialogue by the language model's chat template, as is done anyway "
                     "if it has one; Error if it has none");
  verb->add_flag("--no-chat-template", options->no_chat_template,
                 "Write questions and answers one behind the other even so")
      ->excludes(by_template);
  verb->add_option("IMAGE", options->image, "A picture: " + picture_names())->required();
  verb->callback([options, verb] {
    settle_generation(*verb, options->run.model, options->generation);
    chat(*options);
  });
}

}  // namespace blip2

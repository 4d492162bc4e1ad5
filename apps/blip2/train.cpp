#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/training/trainer.h"

namespace blip2 {
namespace {

struct TrainFlags {
  std::string recipe;
  std::vector<std::string> settings;
  TrainOptions train;
  int threads = 0;
  std::int64_t timeout = 600;
};

std::string describe_keys() {
  std::string text = "Keys of a recipe, with their defaults:\n";
  for (const FieldHelp& line : describe_fields(Recipe{})) {
    text += fmt::format("  {} = {}\n      {}\n", line.key, line.default_value, line.help);
  }
  return text;
}

}  // namespace

void add_train(CLI::App& app) {
  auto* verb = app.add_subcommand("train", "Run a training recipe");
  auto flags = std::make_shared<TrainFlags>();
  verb->add_option("RECIPE", flags->recipe, "TOML file")->required();
  verb->add_option("--set", flags->settings, "key=value: change the recipe (may be repeated)")
      ->take_all()
      ->allow_extra_args(false);
  verb->add_option("--output", flags->train.output, "Folder of the run and of its model")
      ->required();
  verb->add_flag("--resume", flags->train.resume, "Go on after the newest checkpoint in --output");
  verb->add_flag("--allow-changed", flags->train.allow_changed,
                 "Resume although the recipe or the frozen parts have changed");
  verb->add_option("--threads", flags->threads, "Threads of tensor operations; 0: one a core")
      ->check(CLI::Range(0, 1024));
  verb->add_option("--timeout", flags->timeout,
                   "Seconds to wait for another of several processes before giving up")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  add_json_flag(*verb, flags->train.json);
  verb->footer(describe_keys());
  verb->callback([flags] {
    apply_threads(flags->threads);
    flags->train.timeout = std::chrono::seconds(flags->timeout);
    train(load_recipe(flags->recipe, flags->settings), flags->train);
  });
}

}  // namespace blip2

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/blip2/options.h"
#include "apps/blip2/verbs.h"
#include "blip2/base/rank_place.h"
#include "blip2/planning/run_plan.h"
#include "blip2/training/dry_run.h"
#include "blip2/training/trainer.h"

namespace blip2 {
namespace {

struct TrainFlags {
  std::string recipe;
  std::vector<std::string> settings;
  TrainOptions train;
  bool plan = false, dry_run = false;
  std::optional<std::int64_t> records, processes;
  int threads = 0;
};

// Whether this is the main process of those that a launcher has started, which prints.
bool is_main_process() {
  return rank_place_from_environment().rank == 0;
}

void show_plan(const TrainFlags& flags) {
  const std::int64_t processes =
      flags.processes ? *flags.processes : rank_place_from_environment().size;
  const RunPlan plan =
      plan_run(load_recipe(flags.recipe, flags.settings), processes, flags.records);
  if (!is_main_process()) return;
  if (flags.train.json) {
    print_json(plan_json(plan));
  } else {
    std::fputs(plan_text(plan).c_str(), stdout);
  }
}

std::string describe_keys() {
  std::string text = "Keys of a recipe, with their defaults:\n";
  for (const FieldHelp& line : describe_fields(Recipe{})) {
    text += fmt::format("  {} = {}\n      {}\n", line.key, line.default_value, line.help);
  }
  return text;
}

void show_dry_run(const TrainFlags& flags) {
  const DryRun result = dry_run(load_recipe(flags.recipe, flags.settings), flags.train);
  if (!is_main_process()) return;
  if (flags.train.json) {
    print_json(dry_run_json(result));
  } else {
    std::fputs(dry_run_text(result).c_str(), stdout);
  }
}

}  // namespace

void add_train(CLI::App& app) {
  auto* verb = app.add_subcommand("train", "Run a training recipe");
  auto flags = std::make_shared<TrainFlags>();
  verb->add_option("RECIPE", flags->recipe, "TOML file")->required();
  verb->add_option("--set", flags->settings, "key=value: change the recipe (may be repeated)")
      ->take_all()
      ->allow_extra_args(false);
  auto* output =
      verb->add_option("--output", flags->train.output, "Folder of the run and of its model")
          ->check(refuse_empty);
  auto* plan =
      verb->add_flag("--plan", flags->plan,
                     "Do not run, but print the cost of the run: parameters, memory, operations, "
                     "tokens, disk space");
  verb->add_flag("--dry-run", flags->dry_run,
                 "Check everything that the run needs and take one step, without writing")
      ->excludes(plan);
  verb->add_option(
          "--records", flags->records,
          "With --plan: assume this number of pictures with one text each instead of data; "
          "`init` then needs only its config.json")
      ->needs(plan)
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40));
  verb->add_option("--processes", flags->processes,
                   "With --plan: number of processes; default: as many as a launcher has started")
      ->needs(plan)
      ->check(CLI::Range(1, 1 << 20));
  verb->add_flag("--resume", flags->train.resume, "Go on after the newest checkpoint in --output");
  verb->add_flag("--allow-changed", flags->train.allow_changed,
                 "Resume although the recipe or the frozen parts have changed");
  verb->add_flag("--tensorboard", flags->train.tensorboard,
                 "Write the log's numbers to an event file of TensorBoard too");
  verb->add_option("--threads", flags->threads,
                   "Number of threads for tensor operations; 0: one for each core")
      ->check(CLI::Range(0, 1024));
  add_timeout(*verb, flags->train.timeout);
  add_json_flag(*verb, flags->train.json);
  verb->footer(describe_keys());
  verb->callback([flags, output] {
    apply_threads(flags->threads);
    if (flags->plan) return show_plan(*flags);
    if (output->empty()) throw CLI::RequiredError("--output");
    if (flags->dry_run) return show_dry_run(*flags);
    train(load_recipe(flags->recipe, flags->settings), flags->train);
  });
}

}  // namespace blip2

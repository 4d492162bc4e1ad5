#include <cstdio>
#include <map>
#include <memory>

#include "apps/blip2/describe.h"
#include "apps/blip2/verbs.h"

namespace blip2 {

void add_completion(CLI::App& app) {
  auto* verb =
      app.add_subcommand("completion", "Print a script that completes this program's options");
  const std::map<std::string, Shell> shells{
      {"bash", Shell::bash}, {"zsh", Shell::zsh}, {"fish", Shell::fish}};
  auto shell = std::make_shared<std::string>();
  verb->add_option("SHELL", *shell, "The shell: bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  verb->footer("For bash: source <(blip2 completion bash)");
  verb->callback([shell, shells, &app] {
    std::fputs(completion_script(app, shells.at(*shell)).c_str(), stdout);
  });
}

void add_manual(CLI::App& app) {
  auto* verb = app.add_subcommand("manual", "Print this program's page for man");
  verb->footer("To read it: blip2 manual | man -l -");
  verb->callback([&app] { std::fputs(manual_page(app, BLIP2_VERSION).c_str(), stdout); });
}

}  // namespace blip2

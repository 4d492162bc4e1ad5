#include "apps/blip2/program.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/log.h"
#include "blip2/io/toml.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

constexpr int kDone = 0, kFailed = 1, kUsage = 2, kInterrupted = 130;

// "--max-new-tokens" -> "BLIP2_MAX_NEW_TOKENS"
std::string variable_of(const std::string& option) {
  std::string name = "BLIP2_";
  for (char c : option) name += c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return name;
}

bool given(const std::vector<std::string>& arguments, const std::string& option) {
  return std::any_of(arguments.begin(), arguments.end(), [&](const std::string& argument) {
    return argument == "--" + option || argument.starts_with("--" + option + "=");
  });
}

// The value of an option among arguments, the last one; empty if it is not there.
std::string value_in(const std::vector<std::string>& arguments, const std::string& option) {
  std::string value;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == option && i + 1 < arguments.size()) value = arguments[i + 1];
    if (arguments[i].starts_with(option + "=")) value = arguments[i].substr(option.size() + 1);
  }
  return value;
}

// What the file of --recipe sets and `arguments` do not, as arguments of the verb. Its keys are the
// verb's options with underscores: beams = 5. Throws Error if it sets what is no option.
std::vector<std::string> settings_of_recipe(const CLI::App& verb,
                                            const std::vector<std::string>& arguments) {
  std::vector<std::string> settings;
  const std::string path = value_in(arguments, "--recipe");
  if (path.empty() || verb.get_option_no_throw("--recipe") == nullptr) return settings;
  const nlohmann::json recipe = read_toml(path);
  for (const auto& [key, value] : recipe.items()) {
    std::string name = key;
    std::replace(name.begin(), name.end(), '_', '-');
    if (name == "recipe" || verb.get_option_no_throw("--" + name) == nullptr) {
      throw Error("expected an option of the verb " + verb.get_name() + ", got \"" + key + "\"",
                  path, "blip2 " + verb.get_name() + " --help lists them");
    }
    if (value.is_structured()) throw Error("expected one value for \"" + key + "\"", path);
    if (given(arguments, name)) continue;
    settings.push_back("--" + name + "=" +
                       (value.is_string() ? value.get<std::string>() : value.dump()));
  }
  return settings;
}

// Options that the environment sets and the command line does not, as arguments of the verb, and
// what a recipe sets besides: so that the command line beats the environment, the environment beats
// the recipe, and the recipe beats the configuration file.
std::vector<std::string> with_environment(const CLI::App& app, std::vector<std::string> arguments) {
  const CLI::App* verb = nullptr;
  const auto place = std::find_if(arguments.begin(), arguments.end(), [&](const std::string& word) {
    const auto found =
        app.get_subcommands([&](const CLI::App* one) { return one->check_name(word); });
    if (!found.empty()) verb = found.front();
    return verb != nullptr;
  });
  if (verb == nullptr) return arguments;
  const auto at = place - arguments.begin();
  std::vector<std::string> added;
  for (const CLI::Option* option : verb->get_options()) {
    if (option->get_lnames().empty() || option->get_lnames()[0] == "help") continue;
    const std::string& name = option->get_lnames()[0];
    const char* value = std::getenv(variable_of(name).c_str());
    if (value != nullptr && !given(arguments, name)) {
      added.push_back("--" + name + "=" + value);
    }
  }
  arguments.insert(place + 1, added.begin(), added.end());
  const std::vector<std::string> settings = settings_of_recipe(*verb, arguments);
  arguments.insert(arguments.begin() + at + 1, settings.begin(), settings.end());
  return arguments;
}

// Reads --config whether or not it begins with a byte order mark.
class ConfigFile : public CLI::ConfigTOML {
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    std::ostringstream text;
    text << input.rdbuf();
    const std::string content = text.str();
    std::istringstream plain{std::string(without_byte_order_mark(content, "--config"))};
    return CLI::ConfigTOML::from_config(plain);
  }
};

int run(int argc, char** argv, std::span<const AddVerb> verbs) {
  CLI::App app("BLIP-2: pre-train, fine-tune, evaluate and run a Querying Transformer", "blip2");
  app.require_subcommand(1);
  app.set_version_flag("--version", BLIP2_VERSION);
  app.footer(
      "Any option --some-name of a verb can be set as BLIP2_SOME_NAME in the environment, or in a\n"
      "TOML file given with --config under the verb's name; options beat variables beat the file.");
  app.config_formatter(std::make_shared<ConfigFile>());
  app.set_config("--config", "", "TOML file with a table of options for each verb");
  for (const AddVerb add : verbs) add(app);
  std::vector<std::string> arguments(argv + 1, argv + argc);
  arguments = with_environment(app, std::move(arguments));
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them last first
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  return kDone;
}

}  // namespace

int run_program(int argc, char** argv, std::span<const AddVerb> verbs, DescribeFailure describe) {
  catch_interrupts();
  try {
    const int code = run(argc, argv, verbs);
    if (std::fflush(stdout) != 0) throw Error("cannot write", "standard output");
    return code;
  } catch (const Interrupted&) {
    log_line("blip2: interrupted");
    return kInterrupted;
  } catch (const std::bad_alloc&) {
    log_line("blip2: out of memory");
  } catch (const Error& error) {  // which may quote a file or a template
    log_line("blip2: " + one_line(error.what()));
  } catch (const std::exception& error) {
    log_line("blip2: " + describe(error));
  }
  return kFailed;
}

}  // namespace blip2

#include "apps/blip2/describe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

namespace blip2 {
namespace {

struct OptionText {
  std::vector<std::string> names;   // "--beams", "-b"
  std::string help, value;          // value: what it takes; empty for a flag
  std::vector<std::string> values;  // if it takes one of a few
};
struct VerbText {
  std::string name, help, footer;
  std::vector<OptionText> options, arguments;
};

// What stands between the first braces of an option's type: "TEXT:{false,true}".
std::vector<std::string> values_of(const std::string& type) {
  std::vector<std::string> values;
  const auto open = type.find('{'), close = type.find('}');
  if (open == type.npos || close == type.npos) return values;
  std::string rest = type.substr(open + 1, close - open - 1);
  for (std::size_t comma; (comma = rest.find(',')) != rest.npos; rest.erase(0, comma + 1)) {
    values.push_back(rest.substr(0, comma));
  }
  values.push_back(rest);
  return values;
}

OptionText choice_of(const CLI::Option& option) {
  OptionText choice;
  for (const std::string& name : option.get_snames()) choice.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) choice.names.push_back("--" + name);
  choice.help = option.get_description();
  if (option.get_expected_max() > 0) {
    choice.values = values_of(option.get_type_name());
    choice.value =
        choice.values.empty() ? "VALUE" : fmt::format("{}", fmt::join(choice.values, "|"));
  }
  if (!option.get_default_str().empty()) choice.help += " [" + option.get_default_str() + "]";
  return choice;
}

std::vector<VerbText> verbs_of(const CLI::App& app) {
  std::vector<VerbText> verbs;
  for (const CLI::App* one : app.get_subcommands([](const CLI::App*) { return true; })) {
    VerbText verb{one->get_name(), one->get_description(), one->get_footer(), {}, {}};
    for (const CLI::Option* option : one->get_options()) {
      OptionText choice = choice_of(*option);
      if (option->get_positional()) {
        choice.names = {option->get_name(true)};
        verb.arguments.push_back(std::move(choice));
      } else {
        verb.options.push_back(std::move(choice));
      }
    }
    verbs.push_back(std::move(verb));
  }
  return verbs;
}

std::string names_of(const std::vector<VerbText>& verbs, const char* between) {
  std::vector<std::string> names;
  for (const VerbText& verb : verbs) names.push_back(verb.name);
  return fmt::format("{}", fmt::join(names, between));
}

std::string all_options(const VerbText& verb) {
  std::vector<std::string> names;
  for (const OptionText& option : verb.options) {
    names.insert(names.end(), option.names.begin(), option.names.end());
  }
  return fmt::format("{}", fmt::join(names, " "));
}

std::string bash_script(const std::vector<VerbText>& verbs) {
  std::string values, options;
  for (const VerbText& verb : verbs) {
    options += fmt::format("        {}) words=\"{}\" ;;\n", verb.name, all_options(verb));
    for (const OptionText& option : verb.options) {
      if (option.values.empty()) continue;
      values += fmt::format(
          "        {0}:{1}) COMPREPLY=($(compgen -W \"{2}\" -- \"$current\")); return ;;\n",
          verb.name, fmt::join(option.names, "|" + verb.name + ":"), fmt::join(option.values, " "));
    }
  }
  return fmt::format(R"(# bash completion of blip2
_blip2() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} verb= word words
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in {0}) verb=$word; break ;; esac
    done
    case $verb:$previous in
{1}    esac
    [[ -z $verb || $current == -* ]] || return 0
    case $verb in
        "") words="{2} --help --version --config" ;;
{3}    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o bashdefault -o default -F _blip2 blip2
)",
                     names_of(verbs, "|"), values, names_of(verbs, " "), options);
}

// The text on one line with each of `marks` behind a backslash, between single quotes.
std::string quoted(const std::string& text, std::string_view marks) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\n') {
      out += ' ';
      continue;
    }
    if (marks.find(c) != marks.npos) out += '\\';
    out += c == '\'' ? "'\\''" : std::string(1, c);
  }
  return out + "'";
}

std::string zsh_option(const OptionText& option, const std::string& name) {
  constexpr std::string_view kMarks = "[]:\\";
  const std::string help = quoted(option.help, kMarks);
  std::string out = "'" + name + "[" + help.substr(1, help.size() - 2) + "]";
  if (!option.value.empty()) {
    out += option.values.empty() ? ":value:_files"
                                 : fmt::format(":value:({})", fmt::join(option.values, " "));
  }
  return out + "'";
}

std::string zsh_script(const std::vector<VerbText>& verbs) {
  std::string names, options;
  for (const VerbText& verb : verbs) {
    names += fmt::format("        {}\n", quoted(verb.name + ":" + verb.help, "\\"));
    options += fmt::format("        {}) _arguments -s", verb.name);
    for (const OptionText& option : verb.options) {
      for (const std::string& name : option.names)
        options += " \\\n            " + zsh_option(option, name);
    }
    options += " \\\n            '*:file:_files' ;;\n";
  }
  return fmt::format(R"(#compdef blip2
_blip2() {{
    local -a verbs=(
{0}    )
    if (( CURRENT == 2 )); then
        _describe verb verbs
        return
    fi
    local verb=$words[2]
    shift words
    (( CURRENT-- ))
    case $verb in
{1}    esac
}}
_blip2 "$@"
)",
                     names, options);
}

std::string fish_option(const std::string& verb, const OptionText& option) {
  std::string line = fmt::format("complete -c blip2 -n '__fish_seen_subcommand_from {}'", verb);
  for (const std::string& name : option.names) {
    line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  }
  if (!option.value.empty()) line += " -r";
  if (!option.values.empty()) line += fmt::format(" -f -a '{}'", fmt::join(option.values, " "));
  return line + " -d " + quoted(option.help, "\\") + "\n";
}

std::string fish_script(const std::vector<VerbText>& verbs) {
  std::string out = "# fish completion of blip2\n";
  for (const VerbText& verb : verbs) {
    out += fmt::format("complete -c blip2 -f -n __fish_use_subcommand -a {} -d {}\n", verb.name,
                       quoted(verb.help, "\\"));
    for (const OptionText& option : verb.options) out += fish_option(verb.name, option);
  }
  return out;
}

// Text for man: no line begins with a request, hyphens of options stay such.
std::string for_man(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool begins = i == 0 || text[i - 1] == '\n';
    if (begins && (text[i] == '.' || text[i] == '\'')) out += "\\&";
    if (text[i] == '\\') {
      out += "\\e";
    } else if (text[i] == '-') {
      out += "\\-";
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string entry(const OptionText& choice) {
  std::vector<std::string> names;
  for (const std::string& name : choice.names) names.push_back("\\fB" + for_man(name) + "\\fR");
  const std::string value = choice.value.empty() ? "" : " \\fI" + for_man(choice.value) + "\\fR";
  return fmt::format(".TP\n{}{}\n{}\n", fmt::join(names, ", "), value, for_man(choice.help));
}

}  // namespace

std::string completion_script(const CLI::App& app, Shell shell) {
  const std::vector<VerbText> verbs = verbs_of(app);
  if (shell == Shell::bash) return bash_script(verbs);
  return shell == Shell::zsh ? zsh_script(verbs) : fish_script(verbs);
}

std::string manual_page(const CLI::App& app, const std::string& version) {
  std::string out = fmt::format(
      ".TH BLIP2 1 \"\" \"blip2 {}\" \"User Commands\"\n.SH NAME\nblip2 \\- {}\n.SH SYNOPSIS\n"
      ".B blip2\n.I VERB\n.RI [ options ]\n.SH DESCRIPTION\nResults go to standard output, all "
      "else to "
      "standard error.\n{}\n.SH VERBS\n",
      version, for_man(app.get_description()), for_man(app.get_footer()));
  for (const VerbText& verb : verbs_of(app)) {
    out += fmt::format(".SS \"blip2 {}\"\n{}\n", verb.name, for_man(verb.help));
    for (const OptionText& argument : verb.arguments) out += entry(argument);
    for (const OptionText& option : verb.options) out += entry(option);
    if (!verb.footer.empty()) out += ".PP\n.nf\n" + for_man(verb.footer) + "\n.fi\n";
  }
  return out +
         ".SH \"EXIT STATUS\"\n0 done, 1 failed with one message, 2 wrong usage, 130 "
         "interrupted.\n";
}

}  // namespace blip2

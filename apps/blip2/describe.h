#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace blip2 {

// What the program's options say, in the languages of shells and of man. `app` has all verbs.

enum class Shell { bash, zsh, fish };

// A script that completes verbs, options and their choices, and else the names of files.
std::string completion_script(const CLI::App& app, Shell shell);

// The source of the page of section 1 of the manual.
std::string manual_page(const CLI::App& app, const std::string& version);

}  // namespace blip2

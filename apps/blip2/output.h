#pragma once

#include <CLI/CLI.hpp>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace blip2 {

void add_json_flag(CLI::App& verb, bool& json);

// Prints one JSON object on one line of standard output.
void print_json(const nlohmann::ordered_json& object);
void print_line(const std::string& line);
// Prints a result on one line of standard output, with tabs between its fields. Line breaks, tabs
// and other control characters in a field are written as escapes, "\n".
void print_row(std::initializer_list<std::string_view> fields);

}  // namespace blip2

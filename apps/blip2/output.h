#pragma once

#include <CLI/CLI.hpp>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace blip2 {

void add_json_flag(CLI::App& verb, bool& json);

// One JSON object on one line of standard output.
void print_json(const nlohmann::ordered_json& object);
void print_line(const std::string& line);
// A result on one line of standard output, tabs between its fields; what would break the line or
// the fields (line breaks, tabs, other control characters) is written as an escape, "\n".
void print_row(std::initializer_list<std::string_view> fields);

}  // namespace blip2

#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace blip2 {

// A TOML file as JSON (dates become strings). Error with file, line and column; at most 1 MiB.
nlohmann::json read_toml(const std::filesystem::path& path);

// A TOML text as JSON; `where` names the text in errors.
nlohmann::json parse_toml(const std::string& text, const std::string& where);

}  // namespace blip2

#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace blip2 {

// The names in a UTF-8 text file, one a line, without white space at their ends and without a byte
// order mark. Error naming the line if a name is blank or comes twice; Error if the file has no
// name or is not UTF-8.
std::vector<std::string> read_names(const std::filesystem::path& path);

}  // namespace blip2

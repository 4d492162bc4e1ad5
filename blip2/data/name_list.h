#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace blip2 {

// The names of a text file in UTF-8, one a line, without white space at their ends; a byte order
// mark in front is none of the first. Error naming the line if one is blank or there twice, or the
// file holds no name or is not UTF-8.
std::vector<std::string> read_names(const std::filesystem::path& path);

}  // namespace blip2

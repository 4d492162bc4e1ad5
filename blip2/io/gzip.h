#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

namespace blip2 {

// Calls line() with each line of a gzip file in order, without its line end. The file is read a
// part at a time. Error if the file is missing, damaged, cut off, or has a line of more than a MiB.
void each_gzip_line(const std::filesystem::path& path,
                    const std::function<void(std::string_view)>& line);

}  // namespace blip2

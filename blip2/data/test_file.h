#pragma once

#include <filesystem>
#include <fstream>
#include <string>

namespace blip2 {

// For tests: a file's content, without the sync of write_file().
inline void put_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace blip2

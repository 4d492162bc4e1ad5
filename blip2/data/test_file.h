#pragma once

#include <filesystem>
#include <fstream>
#include <string>

namespace blip2 {

// For tests: writes a file without the sync of write_file().
inline void write_without_sync(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace blip2

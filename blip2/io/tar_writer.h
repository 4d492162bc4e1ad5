#pragma once

#include <filesystem>
#include <string_view>

#include "blip2/base/file.h"

namespace blip2 {

// A ustar archive that appears under its name complete or not at all (AtomicFile). Owners, modes
// and times are the same for all members, so that its bytes follow from the members added alone.
// For one thread at a time.
class TarWriter {
 public:
  explicit TarWriter(const std::filesystem::path& path) : file_(path) {}

  // Adds a regular file. Error if the name is empty or has more than 100 bytes, if the body has 8
  // GiB or more, or if writing fails.
  void add(std::string_view name, std::string_view body);
  // Writes the end mark and gives the archive its name.
  void commit();

 private:
  AtomicFile file_;
};

}  // namespace blip2

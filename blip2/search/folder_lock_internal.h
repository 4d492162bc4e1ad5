#pragma once

#include <filesystem>

namespace blip2 {

// The right to write an index, for one process at a time; it ends with the object or the process.
class FolderLock {
 public:
  // Error that names the process which has the right, if there is one.
  explicit FolderLock(const std::filesystem::path& file);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_;
};

}  // namespace blip2

#pragma once

#include <filesystem>
#include <set>
#include <vector>

namespace blip2 {

// The folder and those above it that are not there yet, from the innermost.
std::vector<std::filesystem::path> missing_folders(const std::filesystem::path& folder);

// What is added to a folder while the object lives. Unless it is kept, it goes with the object: the
// folder with everything in it if it was not there before, and the folders that were made above it
// unless others use them; of a folder that was there the new entries. Nothing else may write into
// the folder meanwhile.
class NewEntries {
 public:
  explicit NewEntries(const std::filesystem::path& folder);
  ~NewEntries();
  NewEntries(const NewEntries&) = delete;
  NewEntries& operator=(const NewEntries&) = delete;

  void keep() { kept_ = true; }

 private:
  void remove_new() const;

  std::filesystem::path folder_;
  std::vector<std::filesystem::path> missing_;
  std::set<std::filesystem::path> known_;  // what the folder holds, if it is there
  bool kept_ = false;
};

}  // namespace blip2

#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace blip2 {

// Error if a run could not use the folder: if the folder or its parent is not a folder or cannot be
// written, if another process uses it, or if it holds a run or a model already and `resume` is
// false. Leaves nothing behind.
void check_run_folder(const std::filesystem::path& path, bool resume);

// A training run's folder: log.jsonl, recipe.json, checkpoints/ and, when it has ended, a model
// directory's files. Locked while a run uses it. A run that is refused before keep() leaves neither
// the folder nor its lock if they were not there.
class RunFolder {
 public:
  // Creates the folder if need be. Error if another process uses it, or if it holds a run already
  // and `resume` is false.
  RunFolder(std::filesystem::path path, bool resume);
  ~RunFolder();
  void keep() { kept_ = true; }
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path log() const { return path_ / "log.jsonl"; }

  // Removes the lines of the log after step `step`, so that a resumed run continues the log there.
  void rewind_log(std::int64_t step) const;
  // Appends one line; Error if it cannot be written.
  void append_log(const nlohmann::ordered_json& line) const;

 private:
  std::filesystem::path path_;
  std::vector<std::filesystem::path> made_;  // the folder and those above it that were not there
  bool had_lock_, kept_ = false;
  int lock_ = -1;
};

}  // namespace blip2

#include "blip2/base/new_entries.h"

#include <system_error>

namespace blip2 {
namespace {

namespace fs = std::filesystem;

// Without a slash at the end, and by the folders that links lead to.
fs::path plain(const fs::path& folder) {
  std::error_code error;
  const fs::path whole = fs::weakly_canonical(fs::absolute(folder, error), error);
  if (error || whole.empty()) return folder;
  return whole.has_filename() ? whole : whole.parent_path();
}

}  // namespace

std::vector<fs::path> missing_folders(const fs::path& folder) {
  std::vector<fs::path> missing;
  std::error_code error;
  for (fs::path path = plain(folder); !path.empty() && path != path.root_path();
       path = path.parent_path()) {
    if (fs::exists(path, error) || error) break;
    missing.push_back(path);
  }
  return missing;
}

NewEntries::NewEntries(const fs::path& folder)
    : folder_(plain(folder)), missing_(missing_folders(folder)) {
  std::error_code error;
  for (fs::directory_iterator entry(folder_, error), end; !error && entry != end;
       entry.increment(error)) {
    known_.insert(entry->path());
  }
  if (error && missing_.empty()) kept_ = true;  // what cannot be listed stays
}

NewEntries::~NewEntries() {
  if (kept_) return;
  std::error_code ignored;
  if (missing_.empty()) {
    remove_new();
    return;
  }
  fs::remove_all(missing_.front(), ignored);
  for (const fs::path& made : missing_) fs::remove(made, ignored);  // while they are empty
}

void NewEntries::remove_new() const {
  std::error_code error, ignored;
  std::vector<fs::path> added;
  for (fs::directory_iterator entry(folder_, error), end; !error && entry != end;
       entry.increment(error)) {
    if (!known_.contains(entry->path())) added.push_back(entry->path());
  }
  for (const fs::path& path : added) fs::remove_all(path, ignored);
}

}  // namespace blip2

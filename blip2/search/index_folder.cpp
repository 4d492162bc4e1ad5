#include "blip2/search/index_folder_internal.h"

#include <algorithm>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/search/vector_file_internal.h"

namespace blip2 {
namespace {

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  auto entry = std::filesystem::directory_iterator(folder, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) throw Error("cannot read the folder: " + error.message(), folder.string());
  return names;
}

// The number of a file of vectors, whole or half written.
std::optional<std::int64_t> any_vector_file(const std::string& name) {
  if (!is_temporary(name)) return vector_file_number(name);
  return vector_file_number(name.substr(0, name.rfind(".tmp")));
}

bool is_of_an_index(const std::string& name) {
  const std::string database = kDatabaseName;
  return name == kLockName || name == database || name == database + "-wal" ||
         name == database + "-shm" || name == database + "-journal" || any_vector_file(name);
}

}  // namespace

void require_no_other_files(const std::filesystem::path& folder) {
  for (const std::string& name : names_in(folder)) {
    if (is_of_an_index(name)) continue;
    throw Error("the folder holds other files, such as " + name, folder.string(),
                "name a new folder for the index");
  }
}

std::int64_t last_vector_file(const std::filesystem::path& folder) {
  std::int64_t last = 0;
  for (const std::string& name : names_in(folder)) {
    last = std::max(last, any_vector_file(name).value_or(0));
  }
  return last;
}

void delete_other_vectors(const std::filesystem::path& folder,
                          const std::set<std::int64_t>& named) try {
  for (const std::string& name : names_in(folder)) {
    const auto number = any_vector_file(name);
    if (!number || (!is_temporary(name) && named.contains(*number))) continue;
    std::error_code error;
    std::filesystem::remove(folder / name, error);
  }
} catch (const Error&) {  // they stay, too, if the folder cannot be read
}

}  // namespace blip2

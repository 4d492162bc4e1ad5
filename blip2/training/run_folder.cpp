#include "blip2/training/run_folder_internal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/file.h"
#include "blip2/base/new_entries.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxLogBytes = std::uint64_t{1} << 32;

void refuse_used(const fs::path& path, bool resume) {
  const bool used = fs::exists(path / "log.jsonl") || fs::exists(path / "checkpoints") ||
                    fs::exists(path / "config.json");
  if (used && !resume) {
    throw Error("the folder already holds a run or a model", path.string(),
                "choose another --output, or --resume to go on with this one");
  }
}

// Whether the descriptor's file is the one of this name; a run that ends may have removed it.
bool is_still(int descriptor, const fs::path& file) {
  struct stat own {
  }, named{};
  return ::fstat(descriptor, &own) == 0 && ::stat(file.c_str(), &named) == 0 &&
         own.st_dev == named.st_dev && own.st_ino == named.st_ino;
}

// An open, locked descriptor; the caller closes it.
int lock_file(const fs::path& file, const fs::path& folder) {
  for (;;) {
    const int lock = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock < 0) throw Error(std::string("cannot open: ") + std::strerror(errno), file.string());
    const bool locked = ::flock(lock, LOCK_EX | LOCK_NB) == 0;
    if (locked && is_still(lock, file)) return lock;
    ::close(lock);
    if (!locked) throw Error("another run is using this folder", folder.string());
  }
}

}  // namespace

void check_run_folder(const fs::path& path, bool resume) {
  refuse_used(path, resume);
  fs::path folder = fs::absolute(path).lexically_normal();
  while (!fs::exists(folder) && folder != folder.root_path()) folder = folder.parent_path();
  if (!fs::is_directory(folder)) throw Error("expected a folder", folder.string());
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    throw Error(std::string("cannot write there: ") + std::strerror(errno), folder.string());
  }
  const fs::path lock = path / ".lock";
  if (fs::exists(lock)) ::close(lock_file(lock, path));
}

RunFolder::RunFolder(fs::path path, bool resume)
    : path_(std::move(path)),
      made_(missing_folders(path_)),
      had_lock_(fs::exists(path_ / ".lock")) {
  refuse_used(path_, resume);
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) throw Error("cannot create folder: " + error.message(), path_.string());
  lock_ = lock_file(path_ / ".lock", path_);
}

RunFolder::~RunFolder() {
  std::error_code ignored;
  if (!kept_ && !had_lock_) fs::remove(path_ / ".lock", ignored);  // while it is locked
  ::close(lock_);
  if (kept_) return;
  for (const fs::path& made : made_) fs::remove(made, ignored);  // while they are empty
}

void RunFolder::rewind_log(std::int64_t step) const {
  if (!std::filesystem::exists(log())) return;
  std::istringstream lines(read_file(log(), kMaxLogBytes));
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object() || object.value("step", std::int64_t{0}) > step) break;
    kept += line + "\n";
  }
  write_file(log(), kept);
}

void RunFolder::append_log(const nlohmann::ordered_json& line) const {
  std::ofstream file(log(), std::ios::app);
  file << line.dump() << "\n";
  file.flush();
  if (!file) throw Error("cannot write", log().string());
}

}  // namespace blip2

#include "blip2/training/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/file.h"

namespace blip2 {
namespace {

constexpr std::uint64_t kMaxLogBytes = std::uint64_t{1} << 32;

}  // namespace

RunFolder::RunFolder(std::filesystem::path path, bool resume) : path_(std::move(path)) {
  refuse_used(resume);
  std::error_code error;
  std::filesystem::create_directories(path_, error);
  if (error) throw Error("cannot create folder: " + error.message(), path_.string());
  const auto lock_file = path_ / ".lock";
  lock_ = ::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0)
    throw Error(std::string("cannot open: ") + std::strerror(errno), lock_file.string());
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock_);
    throw Error("another run is using this folder", path_.string());
  }
}

RunFolder::~RunFolder() {
  ::close(lock_);
}

void RunFolder::refuse_used(bool resume) const {
  const bool used = std::filesystem::exists(log()) || std::filesystem::exists(checkpoints()) ||
                    std::filesystem::exists(path_ / "config.json");
  if (used && !resume) {
    throw Error("the folder already holds a run or a model", path_.string(),
                "choose another --output, or --resume to go on with this one");
  }
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

#include "blip2/search/folder_lock_internal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <string>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

// " (process 12)" if the lock's holder has left its number.
std::string holder(int descriptor) {
  std::array<char, 20> text{};
  const ssize_t count = ::pread(descriptor, text.data(), text.size(), 0);
  std::string digits;
  for (ssize_t i = 0; i < count && std::isdigit(static_cast<unsigned char>(text[i])); ++i) {
    digits += text[i];
  }
  return digits.empty() ? "" : " (process " + digits + ")";
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& file)
    : descriptor_(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644)) {
  if (descriptor_ < 0) {
    throw Error("cannot open: " + std::string(std::strerror(errno)), file.string());
  }
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    const std::string who = holder(descriptor_);
    ::close(descriptor_);
    if (reason != EWOULDBLOCK) {
      throw Error("cannot lock: " + std::string(std::strerror(reason)), file.string());
    }
    throw Error("another process" + who + " writes this index", file.parent_path().string(),
                "wait until it ends");
  }
  // The number is for messages alone: on a full disk there is none.
  const std::string number = std::to_string(::getpid()) + "\n";
  if (::ftruncate(descriptor_, 0) != 0) return;
  [[maybe_unused]] const ssize_t written = ::pwrite(descriptor_, number.data(), number.size(), 0);
}

FolderLock::~FolderLock() {
  ::close(descriptor_);
}

}  // namespace blip2

#include "blip2/io/random_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "blip2/base/error.h"

namespace blip2 {

RandomFile::RandomFile(std::filesystem::path path)
    : path_(std::move(path)),
      descriptor_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  if (descriptor_ < 0) {
    throw Error(fmt::format("cannot open: {}", std::strerror(errno)), path_.string());
  }
  struct stat status;
  const bool regular = ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
  if (regular) {
    size_ = static_cast<std::uint64_t>(status.st_size);
    return;
  }
  ::close(descriptor_);
  throw Error("expected a regular file", path_.string());
}

RandomFile::~RandomFile() {
  ::close(descriptor_);
}

std::size_t RandomFile::read_into(std::uint64_t offset, std::span<std::byte> out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t count = ::pread(descriptor_, out.data() + done, out.size() - done,
                                  static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      throw Error(fmt::format("cannot read at byte {}: {}", offset + done, std::strerror(errno)),
                  path_.string());
    }
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  return done;
}

std::span<const std::byte> RandomFile::peek(std::uint64_t offset, std::size_t count,
                                            std::size_t ahead) {
  if (offset >= size_) return {};
  count = static_cast<std::size_t>(std::min<std::uint64_t>(count, size_ - offset));
  if (offset < window_at_ || offset + count > window_at_ + window_.size()) {
    window_.resize(
        static_cast<std::size_t>(std::min<std::uint64_t>(std::max(count, ahead), size_ - offset)));
    window_.resize(read_into(offset, window_));
    window_at_ = offset;
  }
  const std::size_t skip = static_cast<std::size_t>(offset - window_at_);
  return std::span(window_).subspan(skip, std::min(count, window_.size() - skip));
}

std::string RandomFile::read(std::uint64_t offset, std::size_t count) const {
  std::string bytes;
  const bool there = offset <= size_ && count <= size_ - offset;
  if (there) bytes.resize(count);
  if (there && read_into(offset, std::as_writable_bytes(std::span(bytes))) == count) return bytes;
  throw Error(fmt::format("expected {} bytes at byte {}, the file ends at {}", count, offset,
                          std::filesystem::file_size(path_)),
              path_.string());
}

}  // namespace blip2

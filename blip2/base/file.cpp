#include "blip2/base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "blip2/base/error.h"

namespace blip2 {
namespace {

// A file descriptor closed at the end of the scope.
struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

std::string reason(int error_number) {
  return std::strerror(error_number);
}

std::uint64_t open_regular(const std::filesystem::path& path, Descriptor& file) {
  file.value = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file.value < 0) throw Error("cannot open: " + reason(errno), path.string());
  struct stat status;
  if (::fstat(file.value, &status) != 0)
    throw Error("cannot stat: " + reason(errno), path.string());
  if (S_ISDIR(status.st_mode)) throw Error("expected a file, got a directory", path.string());
  if (!S_ISREG(status.st_mode)) throw Error("expected a regular file", path.string());
  return static_cast<std::uint64_t>(status.st_size);
}

// Another name at each call, so that writers of one file do not disturb each other.
std::string temporary_name(const std::filesystem::path& path) {
  static std::atomic<unsigned> calls{0};
  return fmt::format("{}.tmp{}_{}", path.string(), ::getpid(), calls++);
}

// Makes a rename in this folder durable; some file systems refuse, which loses nothing.
void sync_folder(const std::filesystem::path& folder) {
  Descriptor file{::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY)};
  if (file.value >= 0) ::fsync(file.value);
}

}  // namespace

MappedFile::MappedFile(std::filesystem::path path, const std::byte* data, std::size_t size)
    : path_(std::move(path)), data_(data), size_(size) {}

void MappedFile::release(std::span<const std::byte> bytes) const {
  if (bytes.empty() || bytes.data() < data_ || bytes.data() + bytes.size() > data_ + size_) return;
  static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t start = static_cast<std::size_t>(bytes.data() - data_) / page * page;
  const std::size_t end = static_cast<std::size_t>(bytes.data() - data_) + bytes.size();
  ::madvise(const_cast<std::byte*>(data_) + start, end - start, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (size_ > 0) ::munmap(const_cast<std::byte*>(data_), size_);
}

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  Descriptor file{-1};
  const std::uint64_t size = open_regular(path, file);
  if (size == 0) return std::shared_ptr<const MappedFile>(new MappedFile(path, nullptr, 0));
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.value, 0);
  if (data == MAP_FAILED) throw Error("cannot map: " + reason(errno), path.string());
  return std::shared_ptr<const MappedFile>(
      new MappedFile(path, static_cast<const std::byte*>(data), size));
}

std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  Descriptor file{-1};
  const std::uint64_t size = open_regular(path, file);
  if (size > max_bytes) {
    throw Error(fmt::format("expected at most {} bytes, got {}", max_bytes, size), path.string());
  }
  std::string text(size, '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::read(file.value, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw Error("cannot read: " + reason(errno), path.string());
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  text.resize(done);
  return text;
}

AtomicFile::AtomicFile(std::filesystem::path path)
    : path_(std::move(path)), temporary_(temporary_name(path_)) {
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("create", errno);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::fail(const char* doing, int error_number) const {
  throw Error(fmt::format("cannot {} after {} bytes: {}", doing, written_, reason(error_number)),
              path_.string());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("write", errno);
    written_ += static_cast<std::uint64_t>(count);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void AtomicFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text.data(), text.size())));
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail("sync", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename", errno);
  ::close(descriptor_);
  descriptor_ = -1;
  sync_folder(path_.parent_path());
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace blip2

#include "blip2/base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

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

constexpr std::string_view kTemporary = ".tmp";  // then the process's id, "_" and a number

// Another name at each call, so that writers of one file do not disturb each other.
std::string temporary_name(const std::filesystem::path& path) {
  static std::atomic<unsigned> calls{0};
  return fmt::format("{}{}{}_{}", path.string(), kTemporary, ::getpid(), calls++);
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

void write_copy(const std::filesystem::path& from, const std::filesystem::path& to) {
  Descriptor source{-1};
  open_regular(from, source);
  AtomicFile file(to);
  std::vector<std::byte> block(std::size_t{1} << 20);
  for (;;) {
    const ssize_t count = ::read(source.value, block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw Error("cannot read: " + reason(errno), from.string());
    if (count == 0) break;
    file.write(std::span(block).first(static_cast<std::size_t>(count)));
  }
  file.commit();
}

bool is_temporary(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  const std::size_t mark = name.rfind(kTemporary);
  if (mark == std::string::npos) return false;
  const std::string numbers = name.substr(mark + kTemporary.size());
  const std::size_t bar = numbers.find('_');
  const auto is_number = [](std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
  };
  return bar != std::string::npos && is_number(std::string_view(numbers).substr(0, bar)) &&
         is_number(std::string_view(numbers).substr(bar + 1));
}

void require_place(const std::filesystem::path& path) {
  std::error_code error;
  if (path.empty()) throw Error("expected the name of a file, got an empty one", "output");
  if (std::filesystem::is_directory(path, error)) {
    throw Error("expected the name of a file, it is a folder", path.string());
  }
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  if (!std::filesystem::is_directory(folder, error)) {
    throw Error("there is no folder " + folder.string(), path.string(), "make it first");
  }
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    throw Error("cannot create: " + reason(errno), path.string());
  }
}

}  // namespace blip2

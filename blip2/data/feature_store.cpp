#include "blip2/data/feature_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/log.h"

namespace blip2 {
namespace {

// As index.bin holds it, little-endian.
struct Entry {
  RowKey key;
  std::uint64_t row_checksum;
  std::uint64_t entry_checksum;  // of the fields above and the row's number
};
static_assert(sizeof(Entry) == 40);

// Rows between two syncs. A power cut may lose rows that the index names already, among twice as
// many at the end at most: these are checked when the store is opened.
constexpr std::int64_t kRowsPerSync = 1024, kCheckedTail = 2 * kRowsPerSync;

std::uint64_t entry_checksum(const Entry& entry, std::int64_t row) {
  const auto bytes = std::as_bytes(std::span(&entry, 1)).first(offsetof(Entry, entry_checksum));
  return hash_bytes(bytes, static_cast<std::uint64_t>(row));
}

// A file open for writing at given places.
class Writer {
 public:
  explicit Writer(const std::filesystem::path& path)
      : path_(path), descriptor_(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644)) {
    if (descriptor_ < 0) fail("open", errno);
  }
  ~Writer() { ::close(descriptor_); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void write(std::span<const std::byte> bytes, std::uint64_t offset) const {
    while (!bytes.empty()) {
      const ssize_t count =
          ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail("write", errno);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
      offset += static_cast<std::uint64_t>(count);
    }
  }
  void sync() const {
    if (::fdatasync(descriptor_) != 0) fail("sync", errno);
  }
  void truncate(std::uint64_t size) const noexcept {
    [[maybe_unused]] const int ignored = ::ftruncate(descriptor_, static_cast<off_t>(size));
  }

 private:
  [[noreturn]] void fail(const char* doing, int error_number) const {
    throw Error(fmt::format("cannot {}: {}", doing, std::strerror(error_number)), path_.string(),
                "free some space or keep the features in another folder; what is there stays good");
  }
  std::filesystem::path path_;
  int descriptor_;
};

void write_key(const std::filesystem::path& path, const std::string& key) {
  if (!std::filesystem::exists(path)) return write_file(path, key);
  if (read_file(path) == key) return;
  throw Error("holds features of another encoder or transform", path.parent_path().string(),
              "delete the folder");
}

// Takes a part of a mapped file out of this process's memory; it stays in the system's cache.
void release(std::span<const std::byte> bytes) {
  static const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<std::uintptr_t>(bytes.data());
  const std::uintptr_t start = first / page * page;
  ::madvise(reinterpret_cast<void*>(start), first + bytes.size() - start, MADV_DONTNEED);
}

std::uint64_t file_size_or_zero(const std::filesystem::path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error ? 0 : size;
}

}  // namespace

FeatureStore::Lock::Lock(const std::filesystem::path& file)
    : descriptor_(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
  if (descriptor_ < 0) throw Error(std::strerror(errno), file.string());
  bool told = false;
  while (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      const int error_number = errno;
      ::close(descriptor_);
      throw Error(fmt::format("cannot lock: {}", std::strerror(error_number)), file.string());
    }
    if (!std::exchange(told, true)) {
      log_info("waiting for another run that computes features in {}", file.parent_path().string());
    }
    if (interrupted()) {
      ::close(descriptor_);
      throw Interrupted{};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

FeatureStore::Lock::~Lock() {
  ::close(descriptor_);
}

FeatureStore::FeatureStore(std::filesystem::path folder, const std::string& key,
                           std::size_t row_bytes)
    : folder_(std::move(folder)), row_bytes_(row_bytes) {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) throw Error("cannot make the folder: " + error.message(), folder_.string());
  write_key(folder_ / "key.json", key);
  load_index();
}

FeatureStore::~FeatureStore() = default;

std::unique_ptr<FeatureStore::Lock> FeatureStore::lock() {
  auto lock = std::make_unique<Lock>(folder_ / "lock");
  load_index();
  return lock;
}

void FeatureStore::map_rows() {
  const auto path = folder_ / "rows.bin";
  mapped_ = file_size_or_zero(path) > 0 ? MappedFile::open(path) : nullptr;
}

void FeatureStore::load_index() {
  index_.clear();
  checksums_.clear();
  map_rows();
  if (!std::filesystem::exists(folder_ / "index.bin")) return;
  const std::string bytes = read_file(folder_ / "index.bin", 1u << 30);
  const std::size_t stored = mapped_ ? mapped_->bytes().size() / row_bytes_ : 0;
  std::vector<RowKey> keys;
  for (std::size_t i = 0; i < std::min(bytes.size() / sizeof(Entry), stored); ++i) {
    Entry entry;
    std::memcpy(&entry, bytes.data() + i * sizeof(Entry), sizeof(Entry));
    if (entry.entry_checksum != entry_checksum(entry, rows())) break;
    checksums_.push_back(entry.row_checksum);
    keys.push_back(entry.key);
  }
  std::int64_t sound = std::max<std::int64_t>(0, rows() - kCheckedTail);
  while (sound < rows() && row_is_sound(sound)) ++sound;
  checksums_.resize(static_cast<std::size_t>(sound));
  for (std::int64_t row = 0; row < sound; ++row) index_.emplace(keys[row], row);
}

bool FeatureStore::row_is_sound(std::int64_t row) const {
  const auto start = static_cast<std::size_t>(row) * row_bytes_;
  const auto bytes = mapped_->bytes().subspan(start, row_bytes_);
  const bool sound = hash_bytes(bytes) == checksums_[static_cast<std::size_t>(row)];
  release(bytes);
  return sound;
}

std::optional<std::int64_t> FeatureStore::find(const RowKey& key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? std::nullopt : std::optional(found->second);
}

void FeatureStore::require_space(std::int64_t more_rows) const {
  struct statvfs status;
  if (::statvfs(folder_.c_str(), &status) != 0) return;
  const double needed = static_cast<double>(more_rows) * static_cast<double>(row_bytes_);
  const double free = static_cast<double>(status.f_bavail) * static_cast<double>(status.f_frsize);
  if (needed <= free) return;
  throw Error(fmt::format("{:.0f} MB of features do not fit in the {:.0f} MB that are free",
                          needed / 1e6, free / 1e6),
              folder_.string(), "free some space, or keep fewer views or another folder");
}

void FeatureStore::append(const Lock& lock, std::span<const RowKey> keys,
                          std::span<const std::byte> bytes) {
  if (bytes.size() != keys.size() * row_bytes_)
    throw Error("rows of another size", "feature store");
  std::vector<Entry> entries;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    Entry entry{keys[i], hash_bytes(bytes.subspan(i * row_bytes_, row_bytes_)), 0};
    entry.entry_checksum = entry_checksum(entry, rows() + static_cast<std::int64_t>(i));
    entries.push_back(entry);
  }
  const auto count = static_cast<std::uint64_t>(rows());
  const Writer data(folder_ / "rows.bin"), index(folder_ / "index.bin");
  try {
    data.write(bytes, count * row_bytes_);
    index.truncate(count * sizeof(Entry));
    index.write(std::as_bytes(std::span(entries)), count * sizeof(Entry));
  } catch (...) {
    index.truncate(count * sizeof(Entry));
    data.truncate(count * row_bytes_);
    throw;
  }
  for (const Entry& entry : entries) {
    index_.emplace(entry.key, rows());
    checksums_.push_back(entry.row_checksum);
  }
  map_rows();
  unsynced_ += static_cast<std::int64_t>(entries.size());
  if (unsynced_ >= kRowsPerSync) sync(lock);
}

void FeatureStore::sync(const Lock&) {
  Writer(folder_ / "rows.bin").sync();
  Writer(folder_ / "index.bin").sync();
  unsynced_ = 0;
}

void FeatureStore::read(std::int64_t row, std::byte* out) const {
  const auto all = mapped_->bytes();
  const auto bytes = all.subspan(static_cast<std::size_t>(row) * row_bytes_, row_bytes_);
  std::memcpy(out, bytes.data(), row_bytes_);
  release(bytes);
  if (hash_bytes({out, row_bytes_}) == checksums_[static_cast<std::size_t>(row)]) return;
  throw Error(fmt::format("the features of row {} are damaged", row),
              (folder_ / "rows.bin").string(), "delete the folder; they are computed anew");
}

}  // namespace blip2

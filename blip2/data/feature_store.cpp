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
#include <fstream>
#include <thread>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"

namespace blip2 {
namespace {

// As index.bin holds it, little-endian.
struct Entry {
  RowKey key;
  std::uint64_t row_checksum;
  std::uint64_t entry_checksum;  // of the fields above and the row's number
};
static_assert(sizeof(Entry) == 40);

// Rows between two syncs, whoever adds them. A power cut may lose rows that the index names
// already, among twice as many at the end at most: these are checked when the store is opened.
constexpr std::int64_t kRowsPerSync = 1024, kCheckedTail = 2 * kRowsPerSync;
constexpr std::chrono::milliseconds kLockInterval{5};

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

// Advises the system of the pages that hold a part of a mapped file. MADV_DONTNEED takes them out
// of this process's memory; they stay in the system's cache.
void advise(std::span<const std::byte> bytes, int advice) {
  static const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<std::uintptr_t>(bytes.data());
  const std::uintptr_t start = first / page * page;
  ::madvise(reinterpret_cast<void*>(start), first + bytes.size() - start, advice);
}

// At most `most` entries from number `first` on; fewer where the file ends. It may be cut short by
// its writer meanwhile, so it is not mapped.
std::vector<Entry> read_entries(const std::filesystem::path& path, std::int64_t first,
                                std::int64_t most) {
  std::vector<Entry> entries(static_cast<std::size_t>(std::max<std::int64_t>(most, 0)));
  std::ifstream file(path, std::ios::binary);
  file.seekg(first * static_cast<std::int64_t>(sizeof(Entry)));
  const std::span bytes = std::as_writable_bytes(std::span(entries));
  file.read(reinterpret_cast<char*>(bytes.data()), std::ssize(bytes));
  entries.resize(static_cast<std::size_t>(file.gcount()) / sizeof(Entry));
  return entries;
}

int open_lock(const std::filesystem::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) throw Error(std::strerror(errno), file.string());
  return descriptor;
}

std::uint64_t file_size_or_zero(const std::filesystem::path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error ? 0 : size;
}

}  // namespace

FeatureStore::Lock::Lock(const std::filesystem::path& file) : descriptor_(open_lock(file)) {
  while (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const int error_number = errno;
    const bool wait = error_number == EWOULDBLOCK || error_number == EINTR;
    if (wait && !interrupted()) {
      std::this_thread::sleep_for(kLockInterval);
      continue;
    }
    ::close(descriptor_);
    if (wait) throw Interrupted{};
    throw Error(fmt::format("cannot lock: {}", std::strerror(error_number)), file.string());
  }
}

FeatureStore::Lock::~Lock() {
  ::close(descriptor_);
}

FeatureStore::Claims::Claims(const FeatureStore& store)
    : file_(store.folder() / "claims"), descriptor_(open_lock(file_)) {}

FeatureStore::Claims::~Claims() {
  ::close(descriptor_);
}

// Locks of the open file, not of the process: several of one process keep each other out too.
bool FeatureStore::Claims::set(const ContentHash& picture, short type) const {
  struct flock place {};
  place.l_type = type;
  place.l_whence = SEEK_SET;
  place.l_start = static_cast<off_t>(picture.low >> 2);  // never written to, so any place will do
  place.l_len = 1;
  while (::fcntl(descriptor_, F_OFD_SETLK, &place) != 0) {
    if (errno == EAGAIN || errno == EACCES) return false;
    if (errno != EINTR) {
      throw Error(fmt::format("cannot lock: {}", std::strerror(errno)), file_.string());
    }
  }
  return true;
}

bool FeatureStore::Claims::take(const ContentHash& picture) const {
  return set(picture, F_WRLCK);
}

void FeatureStore::Claims::give_back(const ContentHash& picture) const {
  set(picture, F_UNLCK);
}

FeatureStore::FeatureStore(std::filesystem::path folder, const std::string& key,
                           std::size_t row_bytes)
    : folder_(std::move(folder)), row_bytes_(row_bytes) {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) throw Error("cannot make the folder: " + error.message(), folder_.string());
  write_key(folder_ / "key.json", key);
  load_new_rows();
}

FeatureStore::~FeatureStore() = default;

std::unique_ptr<FeatureStore::Lock> FeatureStore::lock() {
  auto lock = std::make_unique<Lock>(folder_ / "lock");
  if (!knows_last_row()) {
    index_.clear();
    checksums_.clear();
  }
  load_new_rows();
  return lock;
}

// Whether the last row known is still there: one whose writer failed after it was seen is not.
bool FeatureStore::knows_last_row() const {
  if (checksums_.empty()) return true;
  const auto entries = read_entries(folder_ / "index.bin", rows() - 1, 1);
  return !entries.empty() && entries[0].row_checksum == checksums_.back() &&
         entries[0].entry_checksum == entry_checksum(entries[0], rows() - 1);
}

void FeatureStore::map_rows() {
  const auto path = folder_ / "rows.bin";
  mapped_ = file_size_or_zero(path) > 0 ? MappedFile::open(path) : nullptr;
}

void FeatureStore::load_new_rows() {
  map_rows();
  const std::int64_t known = rows();
  const auto stored = static_cast<std::int64_t>(mapped_ ? mapped_->bytes().size() / row_bytes_ : 0);
  std::vector<RowKey> keys;
  for (const Entry& entry : read_entries(folder_ / "index.bin", known, stored - known)) {
    if (entry.entry_checksum != entry_checksum(entry, rows())) break;
    checksums_.push_back(entry.row_checksum);
    keys.push_back(entry.key);
  }
  std::int64_t sound = std::max(known, rows() - kCheckedTail);
  while (sound < rows() && row_is_sound(sound)) ++sound;
  checksums_.resize(static_cast<std::size_t>(sound));
  for (std::int64_t row = known; row < sound; ++row) {
    index_.emplace(keys[static_cast<std::size_t>(row - known)], row);
  }
}

bool FeatureStore::row_is_sound(std::int64_t row) const {
  const auto bytes = bytes_of(row);
  const bool sound = hash_bytes(bytes) == checksums_[static_cast<std::size_t>(row)];
  advise(bytes, MADV_DONTNEED);
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
  const auto before = static_cast<std::int64_t>(count);
  if (rows() / kRowsPerSync != before / kRowsPerSync) sync(lock);
}

void FeatureStore::sync(const Lock&) {
  Writer(folder_ / "rows.bin").sync();
  Writer(folder_ / "index.bin").sync();
}

std::span<const std::byte> FeatureStore::bytes_of(std::int64_t row) const {
  return mapped_->bytes().subspan(static_cast<std::size_t>(row) * row_bytes_, row_bytes_);
}

void FeatureStore::read_ahead(std::int64_t row) const {
  advise(bytes_of(row), MADV_WILLNEED);
}

void FeatureStore::read(std::int64_t row, std::byte* out) const {
  const auto bytes = bytes_of(row);
  std::memcpy(out, bytes.data(), row_bytes_);
  advise(bytes, MADV_DONTNEED);
  if (hash_bytes({out, row_bytes_}) == checksums_[static_cast<std::size_t>(row)]) return;
  throw Error(fmt::format("the features of row {} are damaged", row),
              (folder_ / "rows.bin").string(), "delete the folder; they are computed anew");
}

}  // namespace blip2

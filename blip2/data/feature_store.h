#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blip2/base/content_hash.h"
#include "blip2/base/file.h"

namespace blip2 {

// The key of a row in a feature store: the hash of a picture's content and the number of its view.
struct RowKey {
  ContentHash picture;
  std::uint64_t view = 0;

  auto operator<=>(const RowKey&) const = default;
};

// Rows of equal size in a folder, found by key; rows are only ever added. The folder has three
// files: key.json says what the rows are, rows.bin holds them one after the other, and index.bin
// names them in the same order with their checksums. Rows are written before the index names them
// and are synced now and then, so an interrupted writer loses only its last rows.
//
// Several processes may read at any time; one at a time may add rows, while it holds the lock().
// Claims keep processes from computing the same rows.
class FeatureStore {
 public:
  // Opens the folder or makes it. Error if it holds rows of another key.
  FeatureStore(std::filesystem::path folder, const std::string& key, std::size_t row_bytes);
  ~FeatureStore();

  // The right to add rows; the destructor gives it back.
  class Lock {
   public:
    explicit Lock(const std::filesystem::path& file);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    int descriptor_;
  };
  // Waits for another process that is adding rows, then loads the rows that other processes have
  // added. Throws Interrupted if interrupted() turns true meanwhile.
  std::unique_ptr<Lock> lock();

  // The pictures whose rows a process computes, in a file of locks beside the store. When a process
  // ends, its pictures are free again.
  class Claims {
   public:
    explicit Claims(const FeatureStore& store);
    ~Claims();
    Claims(const Claims&) = delete;
    Claims& operator=(const Claims&) = delete;

    // Claims a picture; false if another process has claimed it. Call it while holding lock().
    bool take(const ContentHash& picture) const;
    void give_back(const ContentHash& picture) const;

   private:
    bool set(const ContentHash& picture, short type) const;
    std::filesystem::path file_;
    int descriptor_;
  };

  std::optional<std::int64_t> find(const RowKey& key) const;
  std::int64_t rows() const { return static_cast<std::int64_t>(checksums_.size()); }
  std::size_t row_bytes() const { return row_bytes_; }
  const std::filesystem::path& folder() const { return folder_; }

  // Error if the disk has no room for `more_rows` more rows.
  void require_space(std::int64_t more_rows) const;
  // Adds keys.size() rows. On failure (disk full) the store is as it was before.
  void append(const Lock& lock, std::span<const RowKey> keys, std::span<const std::byte> bytes);

  // Syncs the files, so that the rows added survive a power cut.
  void sync(const Lock& lock);

  // Copies a row to `out`; Error if its checksum is wrong. Several threads may call it at once, but
  // not while append() or lock() runs. The row's pages do not stay in this process's memory, so a
  // large store takes no more memory than a small one.
  void read(std::int64_t row, std::byte* out) const;
  // Lets the system bring a row from the disk, without waiting for it.
  void read_ahead(std::int64_t row) const;

 private:
  void load_new_rows();
  bool knows_last_row() const;
  bool row_is_sound(std::int64_t row) const;
  void map_rows();
  std::span<const std::byte> bytes_of(std::int64_t row) const;

  std::filesystem::path folder_;
  std::size_t row_bytes_;
  std::map<RowKey, std::int64_t> index_;
  std::vector<std::uint64_t> checksums_;
  std::shared_ptr<const MappedFile> mapped_;
};

}  // namespace blip2

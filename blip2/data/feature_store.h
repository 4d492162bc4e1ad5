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

#include "blip2/base/file.h"
#include "blip2/data/content_hash.h"

namespace blip2 {

// Which row of a feature store: a picture's content and the number of its view.
struct RowKey {
  ContentHash picture;
  std::uint64_t view = 0;

  auto operator<=>(const RowKey&) const = default;
};

// Rows of equal size in a folder, found by key; rows are only ever added. Three files: key.json
// says what the rows are, rows.bin holds them one after the other, and index.bin names them in the
// same order with their checksums. Rows are written before the index names them and are synced now
// and then, so whatever stops a writer costs only its last rows.
//
// Several processes may read at any time; one at a time may add, under lock().
class FeatureStore {
 public:
  // Opens the folder or makes it. Error if it holds rows of another key.
  FeatureStore(std::filesystem::path folder, const std::string& key, std::size_t row_bytes);
  ~FeatureStore();

  // The right to add rows, given back when it is destroyed.
  class Lock {
   public:
    explicit Lock(const std::filesystem::path& file);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    int descriptor_;
  };
  // Waits for another process that is adding rows, then sees what it has added. Throws Interrupted
  // if interrupted() turns true meanwhile.
  std::unique_ptr<Lock> lock();

  std::optional<std::int64_t> find(const RowKey& key) const;
  std::int64_t rows() const { return static_cast<std::int64_t>(checksums_.size()); }
  std::size_t row_bytes() const { return row_bytes_; }
  const std::filesystem::path& folder() const { return folder_; }

  // Error if the disk has no room for so many more rows.
  void require_space(std::int64_t more_rows) const;
  // Adds keys.size() rows. On failure (disk full) the store is as it was before.
  void append(const Lock& lock, std::span<const RowKey> keys, std::span<const std::byte> bytes);

  // Makes what was added outlast a power cut.
  void sync(const Lock& lock);

  // Copies a row; Error if its bytes are not those that were added. May be called from several
  // threads, but not beside append() and lock(). The row's pages do not stay in this process's
  // memory, whatever the size of the store.
  void read(std::int64_t row, std::byte* out) const;

 private:
  void load_index();
  bool row_is_sound(std::int64_t row) const;
  void map_rows();

  std::filesystem::path folder_;
  std::size_t row_bytes_;
  std::map<RowKey, std::int64_t> index_;
  std::vector<std::uint64_t> checksums_;
  std::shared_ptr<const MappedFile> mapped_;
  std::int64_t unsynced_ = 0;
};

}  // namespace blip2

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace blip2 {

// The shape of what a cache keeps for each token: keys and values [heads, head_dim] in every layer.
struct KvShape {
  std::int64_t layers, heads, head_dim;
  std::size_t element_bytes;
};

// The keys and values of a decoder's sequences ("rows"). Each row has one block of memory, so that
// rows can be reordered, repeated and dropped without moving the rows that stay. Writing to
// different rows may run on several threads at once; everything else is for one thread at a time.
class KvCache {
 public:
  // `capacity`: number of tokens a row for which room is made at first; rows grow beyond it when
  // needed.
  KvCache(const KvShape& shape, std::int64_t capacity);

  std::int64_t rows() const { return static_cast<std::int64_t>(rows_.size()); }
  std::int64_t length(std::int64_t row) const { return at(row).length; }

  void add_rows(std::int64_t count);
  // Makes room for `count` more tokens in the row.
  void reserve(std::int64_t row, std::int64_t count);
  // Counts `count` more tokens as written.
  void extend(std::int64_t row, std::int64_t count) { at(row).length += count; }
  // Row i becomes a continuation of the present row sources[i]; a row may be named several times
  // or not at all.
  void select(std::span<const std::int32_t> sources);

  // The keys (or values) [capacity, head_dim] of one row, layer and key/value head.
  template <typename T>
  T* keys(std::int64_t row, std::int64_t layer, std::int64_t head) {
    return reinterpret_cast<T*>(block(row, 2 * layer, head));
  }
  template <typename T>
  T* values(std::int64_t row, std::int64_t layer, std::int64_t head) {
    return reinterpret_cast<T*>(block(row, 2 * layer + 1, head));
  }

 private:
  struct Row {
    std::unique_ptr<std::byte[]> data;  // [layers, 2, heads, capacity, head_dim]
    std::int64_t capacity = 0, length = 0;
  };
  Row& at(std::int64_t row) { return rows_[static_cast<std::size_t>(row)]; }
  const Row& at(std::int64_t row) const { return rows_[static_cast<std::size_t>(row)]; }
  std::byte* block(std::int64_t row, std::int64_t matrix, std::int64_t head);
  Row make_row(std::int64_t capacity);
  Row copy_of(const Row& row, std::int64_t capacity);

  std::int64_t matrices_, heads_, first_capacity_;
  std::size_t token_bytes_;  // bytes of a token in one head
  std::vector<Row> rows_, spare_;
};

}  // namespace blip2

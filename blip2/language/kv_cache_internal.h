#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "blip2/nn/kernels/arguments.h"

namespace blip2 {

// What a cache keeps of each token: keys and values [heads, head_dim] in every layer.
struct KvShape {
  std::int64_t layers, heads, head_dim;
  std::size_t element_bytes;
};

// The keys and values of a decoder's sequences ("rows"). A row has memory of its own, so that rows
// can be reordered, repeated and dropped without touching those that stay; before its own tokens it
// may have tokens that it shares with other rows: the beams and samples of one prompt hold that
// prompt once, and beams hold once what they have in common of their texts, but for a few tokens.
// Not for several threads at once, but for reading and for writing different tokens.
class KvCache {
 public:
  // `capacity`: tokens a row to make room for at first; rows grow beyond it by need. Without
  // `sharing` every row has all its tokens itself.
  KvCache(const KvShape& shape, std::int64_t capacity, bool sharing = true);

  std::int64_t rows() const { return static_cast<std::int64_t>(rows_.size()); }
  // Tokens of a row, and how many of them, the first ones, it shares.
  std::int64_t length(std::int64_t row) const { return shared(row) + at(row).own.length; }
  std::int64_t shared(std::int64_t row) const { return at(row).shared_length; }

  void add_rows(std::int64_t count);
  // Makes room for `count` more tokens in the row.
  void reserve(std::int64_t row, std::int64_t count);
  // Counts `count` more tokens as written.
  void extend(std::int64_t row, std::int64_t count) { at(row).own.length += count; }
  // Row i becomes a continuation of the present row sources[i]; a row may be named several times
  // or not at all. What a row that is repeated has of its own is shared if it is worth it, else
  // copied.
  void select(std::span<const std::int32_t> sources);
  // Appends the rows of another cache of the same shape, which has none afterwards.
  void join(KvCache& other);
  // Forgets all tokens of the row.
  void restart(std::int64_t row);
  // Gives the row tokens of its own for those that it shares.
  void own_all(std::int64_t row);

  // [capacity, head_dim] of one row, layer and key/value head: the row's own tokens.
  template <typename T>
  T* keys(std::int64_t row, std::int64_t layer, std::int64_t head) {
    return reinterpret_cast<T*>(block(at(row).own, 2 * layer, head));
  }
  template <typename T>
  T* values(std::int64_t row, std::int64_t layer, std::int64_t head) {
    return reinterpret_cast<T*>(block(at(row).own, 2 * layer + 1, head));
  }
  // The keys and values of one row, layer and head as attention takes them: the shared tokens, then
  // `own` of the row's own.
  template <typename T>
  void list(std::int64_t row, std::int64_t layer, std::int64_t head, std::int64_t own,
            std::vector<CachedKeys<T>>& lists) const {
    const auto add = [&](const Tokens& tokens, std::int64_t count) {
      lists.push_back({reinterpret_cast<const T*>(block(tokens, 2 * layer, head)),
                       reinterpret_cast<const T*>(block(tokens, 2 * layer + 1, head)), count});
    };
    lists.clear();
    for (const auto& tokens : at(row).shared) add(*tokens, tokens->length);
    add(at(row).own, own);
  }

 private:
  struct Tokens {
    std::unique_ptr<std::byte[]> data;  // [layers, 2, heads, capacity, head_dim]
    std::int64_t capacity = 0, length = 0;
  };
  struct Row {
    std::vector<std::shared_ptr<const Tokens>> shared;
    std::int64_t shared_length = 0;
    Tokens own;
  };
  Row& at(std::int64_t row) { return rows_[static_cast<std::size_t>(row)]; }
  const Row& at(std::int64_t row) const { return rows_[static_cast<std::size_t>(row)]; }
  std::byte* block(const Tokens& tokens, std::int64_t matrix, std::int64_t head) const;
  Tokens make_tokens(std::int64_t capacity);
  // Copies all tokens of `from` behind those of `to`.
  void append(Tokens& to, const Tokens& from) const;
  Tokens copy_of(const Tokens& tokens, std::int64_t capacity);
  void share(Row& row);

  std::int64_t matrices_, heads_, first_capacity_;
  bool sharing_;
  std::size_t token_bytes_;  // of one head
  std::vector<Row> rows_;
  std::vector<Tokens> spare_;
};

}  // namespace blip2

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "blip2/text/tokenizer_definition.h"

namespace blip2 {

// The merges of byte-pair encoding, looked up by their two symbols. Const functions may run on
// several threads at once.
class MergeTable {
 public:
  struct Merge {
    std::uint64_t pair;  // left id << 32 | right id; all ones if the slot is free
    std::int32_t rank, merged;
  };

  // `merges`: in the order of their ranks. Of two merges with the same symbols the later counts, as
  // in `tokenizers`.
  explicit MergeTable(std::span<const PairMerge> merges);

  // Merges neighbouring symbols until no merge applies: the lowest rank first, and of equal ranks
  // the leftmost. O(n log n).
  void apply(std::vector<std::int32_t>& symbols) const;

 private:
  const Merge* find(std::int32_t left, std::int32_t right) const;
  std::size_t slot_of(std::uint64_t pair) const;

  std::vector<Merge> slots_;  // open addressing; the size is a power of two
};

}  // namespace blip2

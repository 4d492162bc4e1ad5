#include "blip2/text/merge_table_internal.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace blip2 {
namespace {

constexpr std::uint64_t kFree = ~std::uint64_t{0};

std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

// A symbol of the word, linked to its neighbours by their places; -1 at the ends.
struct Symbol {
  std::int32_t id, previous, next;
};
constexpr std::int32_t kRemoved = -1;

// A merge that may be due at a place.
struct Candidate {
  std::int32_t rank, place, merged;
  bool operator>(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : place > other.place;
  }
};

std::vector<Symbol> link(std::span<const std::int32_t> ids) {
  std::vector<Symbol> symbols;
  symbols.reserve(ids.size());
  for (const std::int32_t id : ids) {
    const auto place = static_cast<std::int32_t>(symbols.size());
    symbols.push_back({id, place - 1, place + 1});
  }
  if (!symbols.empty()) symbols.back().next = -1;
  return symbols;
}

// The word's symbols and a heap of the merges that may apply to them.
class Word {
 public:
  template <typename Find>
  Word(std::span<const std::int32_t> ids, const Find& find) : symbols_(link(ids)) {
    for (std::size_t i = 0; i + 1 < symbols_.size(); ++i) {
      add(static_cast<std::int32_t>(i), find);
    }
    std::make_heap(heap_.begin(), heap_.end(), std::greater<>{});
  }

  template <typename Find>
  void merge_all(const Find& find) {
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>{});
      const Candidate top = heap_.back();
      heap_.pop_back();
      if (due(top, find)) merge(top, find);
    }
  }

  void collect(std::vector<std::int32_t>& ids) const {
    ids.clear();
    for (const Symbol& symbol : symbols_) {
      if (symbol.id != kRemoved) ids.push_back(symbol.id);
    }
  }

 private:
  Symbol& at(std::int32_t place) { return symbols_[static_cast<std::size_t>(place)]; }

  template <typename Find>
  void add(std::int32_t place, const Find& find) {
    const auto* merge = find(at(place).id, at(at(place).next).id);
    if (merge) heap_.push_back({merge->rank, place, merge->merged});
  }

  // Whether the pair that the candidate was made for is still there.
  template <typename Find>
  bool due(const Candidate& candidate, const Find& find) {
    const Symbol& left = at(candidate.place);
    if (left.id == kRemoved || left.next < 0) return false;
    const auto* merge = find(left.id, at(left.next).id);
    return merge && merge->merged == candidate.merged;
  }

  template <typename Find>
  void merge(const Candidate& candidate, const Find& find) {
    Symbol& left = at(candidate.place);
    Symbol& right = at(left.next);
    left.id = candidate.merged;
    left.next = right.next;
    right.id = kRemoved;
    if (left.next >= 0) at(left.next).previous = candidate.place;
    const auto push = [&](std::int32_t place) {
      const std::size_t before = heap_.size();
      add(place, find);
      if (heap_.size() > before) std::push_heap(heap_.begin(), heap_.end(), std::greater<>{});
    };
    if (left.previous >= 0) push(left.previous);
    if (left.next >= 0) push(candidate.place);
  }

  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

}  // namespace

MergeTable::MergeTable(std::span<const PairMerge> merges)
    : slots_(std::bit_ceil(merges.size() * 2 + 2), Merge{kFree, 0, 0}) {
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right, merged] = merges[rank];
    const std::uint64_t pair = pair_of(left, right);
    slots_[slot_of(pair)] = {pair, static_cast<std::int32_t>(rank), merged};
  }
}

// Where the pair is, or the free slot where it would be put.
std::size_t MergeTable::slot_of(std::uint64_t pair) const {
  const std::size_t mask = slots_.size() - 1;
  auto slot = static_cast<std::size_t>(pair * 0x9e3779b97f4a7c15u >> 24) & mask;
  while (slots_[slot].pair != kFree && slots_[slot].pair != pair) slot = (slot + 1) & mask;
  return slot;
}

const MergeTable::Merge* MergeTable::find(std::int32_t left, std::int32_t right) const {
  const Merge& merge = slots_[slot_of(pair_of(left, right))];
  return merge.pair == kFree ? nullptr : &merge;
}

void MergeTable::apply(std::vector<std::int32_t>& symbols) const {
  const auto find = [this](std::int32_t left, std::int32_t right) {
    return this->find(left, right);
  };
  Word word(symbols, find);
  word.merge_all(find);
  word.collect(symbols);
}

}  // namespace blip2

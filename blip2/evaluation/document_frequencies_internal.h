#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "blip2/base/parallel.h"
#include "blip2/evaluation/ngrams.h"

namespace blip2 {

// For each n-gram the number of pictures whose references have it. The table has one part for each
// thread, with the n-grams of some hashes.
template <typename Ngram>
class DocumentFrequencies {
 public:
  // Captions begins[i] to begins[i + 1] are the i-th picture's references.
  DocumentFrequencies(const CaptionNumbers& captions, std::span<const std::size_t> begins,
                      std::size_t threads)
      : parts_(std::max<std::size_t>(threads, 1)) {
    parallel_for(parts_.size(), threads, [&](std::size_t i) { fill(i, captions, begins); });
  }

  // Brings the n-gram's place nearer to the processor, for of().
  void prefetch(std::uint64_t hash) const {
    const auto& slots = parts_[part_of(hash)].slots;
    __builtin_prefetch(&slots[hash & (slots.size() - 1)]);
  }
  // 0 if no reference has it.
  std::uint32_t of(const Ngram& ngram, std::uint64_t hash) const {
    const Part& part = parts_[part_of(hash)];
    return part.slots[part.place_of(ngram, hash)].pictures;
  }

 private:
  struct Slot {
    Ngram ngram{};
    std::uint32_t pictures = 0, last = 0;  // the picture that had it last, from 1
  };
  struct Part {
    std::vector<Slot> slots = std::vector<Slot>(1024);  // open addressing
    std::size_t used = 0;

    // The index of the n-gram's slot, or of the slot that it would take.
    std::size_t place_of(const Ngram& ngram, std::uint64_t hash) const {
      std::size_t at = hash & (slots.size() - 1);
      while (slots[at].pictures != 0 && slots[at].ngram != ngram) {
        at = (at + 1) & (slots.size() - 1);
      }
      return at;
    }
    void count(const Ngram& ngram, std::uint64_t hash, std::uint32_t picture) {
      Slot& slot = slots[place_of(ngram, hash)];
      if (slot.last == picture) return;
      used += slot.pictures == 0;
      slot = {ngram, slot.pictures + 1, picture};
      if (3 * used > 2 * slots.size()) grow();
    }
    void grow() {
      std::vector<Slot> old(2 * slots.size());
      old.swap(slots);
      for (const Slot& slot : old) {
        if (slot.pictures != 0) slots[place_of(slot.ngram, hash_of(slot.ngram))] = slot;
      }
    }
  };

  std::size_t part_of(std::uint64_t hash) const { return (hash >> 40) % parts_.size(); }

  void fill(std::size_t number, const CaptionNumbers& captions,
            std::span<const std::size_t> begins) {
    Part& part = parts_[number];
    std::vector<std::pair<Ngram, std::uint64_t>> found;  // of a picture, with hashes
    for (std::size_t picture = 0; picture + 1 < begins.size(); ++picture) {
      found.clear();
      for (std::size_t i = begins[picture]; i < begins[picture + 1]; ++i) {
        each_ngram<Ngram>(captions.words(i), [&](std::size_t, const Ngram& ngram) {
          const std::uint64_t hash = hash_of(ngram);
          if (part_of(hash) != number) return;
          found.emplace_back(ngram, hash);
          prefetch(hash);
        });
      }
      for (const auto& [ngram, hash] : found) {
        part.count(ngram, hash, static_cast<std::uint32_t>(picture + 1));
      }
    }
  }

  std::vector<Part> parts_;
};

}  // namespace blip2

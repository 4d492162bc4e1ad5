#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "blip2/base/allocation.h"
#include "blip2/base/parallel.h"
#include "blip2/evaluation/ngrams.h"

namespace blip2 {

// For each n-gram the number of pictures whose references have it. The table has one part for each
// thread, with the n-grams that begin with some of the words.
template <typename Ngram>
class DocumentFrequencies {
 public:
  // Captions begins[i] to begins[i + 1] are the i-th picture's references.
  DocumentFrequencies(const CaptionNumbers& captions, std::span<const std::size_t> begins,
                      std::size_t threads) {
    const std::size_t parts = std::max<std::size_t>(threads, 1);
    const std::size_t slots = ngrams_in(captions, begins.back()) / parts / 2;
    for (std::size_t i = 0; i < parts; ++i) parts_.emplace_back(slots);
    parallel_for(parts_.size(), threads, [&](std::size_t i) { fill(i, captions, begins); });
  }

  // Brings the slot of an n-gram, which begins with the word `first`, nearer to the processor, for
  // of().
  void prefetch(std::uint32_t first, std::uint64_t hash) const {
    parts_[part_of(first)].prefetch(hash);
  }
  // 0 if no reference has it.
  std::uint32_t of(const Ngram& ngram, std::uint32_t first, std::uint64_t hash) const {
    const Part& part = parts_[part_of(first)];
    return part.slots()[part.place_of(ngram, hash)].pictures;
  }

 private:
  struct Slot {
    Ngram ngram;
    std::uint32_t pictures, last;  // the picture that had it last, from 1
  };
  static_assert(std::is_trivial_v<Slot>);  // a slot of zeros is free

  // A hash table with open addressing.
  class Part {
   public:
    explicit Part(std::size_t slots)
        : mask_(std::bit_ceil(std::max<std::size_t>(slots, 1024)) - 1),
          pages_(zeroed_pages((mask_ + 1) * sizeof(Slot))) {}

    Slot* slots() const { return static_cast<Slot*>(pages_.get()); }
    void prefetch(std::uint64_t hash) const { __builtin_prefetch(slots() + (hash & mask_)); }
    // The index of the n-gram's slot, or of the slot that it would take.
    std::size_t place_of(const Ngram& ngram, std::uint64_t hash) const {
      std::size_t at = hash & mask_;
      while (slots()[at].pictures != 0 && slots()[at].ngram != ngram) at = (at + 1) & mask_;
      return at;
    }
    void count(const Ngram& ngram, std::uint64_t hash, std::uint32_t picture) {
      Slot& slot = slots()[place_of(ngram, hash)];
      if (slot.last == picture) return;
      used_ += slot.pictures == 0;
      slot = {ngram, slot.pictures + 1, picture};
      if (3 * used_ > 2 * (mask_ + 1)) grow();
    }

   private:
    void grow() {
      Part larger(2 * (mask_ + 1));
      larger.used_ = used_;
      for (const Slot& slot : std::span(slots(), mask_ + 1)) {
        if (slot.pictures == 0) continue;
        larger.slots()[larger.place_of(slot.ngram, hash_of(slot.ngram))] = slot;
      }
      *this = std::move(larger);
    }

    std::size_t mask_, used_ = 0;
    Pages pages_;
  };

  std::size_t part_of(std::uint32_t first) const {
    return (std::uint64_t{first * 0x9e3779b1u} * parts_.size()) >> 32;
  }

  static std::size_t ngrams_in(const CaptionNumbers& captions, std::size_t count) {
    std::size_t words = 0;
    for (std::size_t i = 0; i < count; ++i) words += captions.words(i).size();
    return kNgramOrders * words;
  }

  // Counts the part's n-grams: gathers those of a picture, then counts them, and prefetches the
  // slot of each some n-grams before it is counted.
  void fill(std::size_t number, const CaptionNumbers& captions,
            std::span<const std::size_t> begins) {
    constexpr std::size_t kAhead = 12;
    Part& part = parts_[number];
    std::vector<std::pair<Ngram, std::uint64_t>> found;  // with hashes
    for (std::size_t picture = 0; picture + 1 < begins.size(); ++picture) {
      found.clear();
      for (std::size_t i = begins[picture]; i < begins[picture + 1]; ++i) {
        const auto words = captions.words(i);
        for (std::size_t begin = 0; begin < words.size(); ++begin) {
          if (part_of(words[begin]) != number) continue;
          each_ngram_at<Ngram>(words, begin, [&](std::size_t, const Ngram& ngram) {
            found.emplace_back(ngram, hash_of(ngram));
          });
        }
      }
      for (std::size_t i = 0; i < std::min(found.size(), kAhead); ++i) {
        part.prefetch(found[i].second);
      }
      for (std::size_t i = 0; i < found.size(); ++i) {
        if (i + kAhead < found.size()) part.prefetch(found[i + kAhead].second);
        part.count(found[i].first, found[i].second, static_cast<std::uint32_t>(picture + 1));
      }
    }
  }

  std::vector<Part> parts_;
};

}  // namespace blip2

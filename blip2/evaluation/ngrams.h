#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace blip2 {

constexpr std::size_t kNgramOrders = 4;  // n-grams of one to four words

struct NgramCount {
  std::uint32_t ngram, count;
};

// A tokenised caption as numbers; seen through NgramCaptions, which must not grow meanwhile.
struct NgramCaption {
  std::span<const std::uint32_t> between_spaces;  // each single space separates: "" is a word
  double words = 0;                               // as split_words gives them
  std::array<std::span<const NgramCount>, kNgramOrders> counts;  // by order; by n-gram within
};

// Tokenised captions with numbers for their words and n-grams, from 0 in the order in which they
// are first seen.
class NgramCaptions {
 public:
  // `text` must stay where it is.
  void add(std::string_view text);
  std::size_t size() const { return places_.size() - 1; }
  NgramCaption operator[](std::size_t caption) const;
  std::size_t ngrams() const { return count_; }

 private:
  struct Slot {
    std::uint64_t key;
    std::uint32_t number;
  };
  // Where a caption's numbers end in the lists below.
  struct Place {
    std::size_t between_spaces = 0;
    std::array<std::size_t, kNgramOrders> counts{};
    std::uint32_t words = 0;
  };
  std::uint32_t number_of(std::string_view word);
  std::uint32_t number_of(std::uint32_t ngram, std::uint32_t word);  // of the n-gram and the word
  void grow();
  void append_counts(std::vector<std::uint32_t>& ngrams);

  std::uint32_t count_ = 0;
  std::unordered_map<std::string_view, std::uint32_t> words_;
  std::vector<Slot> slots_;  // open addressing, a power of two
  std::size_t used_ = 0;     // slots
  std::vector<std::uint32_t> between_spaces_;
  std::vector<NgramCount> counts_;
  std::vector<Place> places_{Place{}};
  std::vector<std::uint32_t> numbers_, ngrams_, sorted_;  // of the caption at hand
};

// Calls found(i, j) for the n-grams a[i] = b[j] that both lists have.
template <typename Found>
void for_common(std::span<const NgramCount> a, std::span<const NgramCount> b, const Found& found) {
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i].ngram == b[j].ngram) {
      found(i++, j++);
    } else if (a[i].ngram < b[j].ngram) {
      ++i;
    } else {
      ++j;
    }
  }
}

}  // namespace blip2

#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace blip2 {

constexpr std::size_t kNgramOrders = 4;  // n-grams of one to four words

// Numbers for the n-grams of a set of captions, from 0 in the order in which they are first seen.
class NgramNumbers {
 public:
  // The word must stay where it is.
  std::uint32_t of_word(std::string_view word);
  // An n-gram and the word after it.
  std::uint32_t of_longer(std::uint32_t ngram, std::uint32_t word);
  std::size_t size() const { return count_; }

 private:
  struct Slot {
    std::uint64_t key;
    std::uint32_t number;
  };
  void grow();

  std::uint32_t count_ = 0;
  std::unordered_map<std::string_view, std::uint32_t> words_;
  std::vector<Slot> slots_;  // open addressing, a power of two
  std::size_t longer_ = 0;   // used slots
};

// A tokenised caption as numbers.
struct NgramCaption {
  struct Count {
    std::uint32_t ngram, count;
  };
  std::uint32_t words = 0;                               // as split_words gives them
  std::vector<Count> counts;                             // by order, then by n-gram
  std::array<std::uint32_t, kNgramOrders + 1> begins{};  // of each order in `counts`
  std::vector<std::uint32_t> between_spaces;  // each single space separates: "" is a word

  std::span<const Count> order(std::size_t n) const {
    return std::span(counts).subspan(begins[n], begins[n + 1] - begins[n]);
  }
};
// `text` must stay where it is.
NgramCaption number_caption(std::string_view text, NgramNumbers& numbers);

// Calls found(i, j) for the n-grams a[i] = b[j] that both lists have.
template <typename Found>
void for_common(std::span<const NgramCaption::Count> a, std::span<const NgramCaption::Count> b,
                const Found& found) {
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

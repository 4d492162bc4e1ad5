#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "blip2/base/random.h"

namespace blip2 {

constexpr std::size_t kNgramOrders = 4;  // n-grams of one to four words

// Tokenised captions as numbers of their words, from 0 in the order in which words are first seen,
// whatever the number of threads. The captions' texts must stay where they are meanwhile.
class CaptionNumbers {
 public:
  CaptionNumbers(std::span<const std::string_view> captions, std::size_t threads);

  std::size_t size() const { return size_; }
  std::size_t vocabulary() const { return vocabulary_; }
  // The words as split_words gives them.
  std::span<const std::uint32_t> words(std::size_t caption) const;
  // The words between single spaces; "" is a word too.
  std::span<const std::uint32_t> between_spaces(std::size_t caption) const;

 private:
  // Captions that one thread reads, with lists of all their words.
  struct Part {
    std::vector<std::uint32_t> words, between;
    std::vector<std::size_t> word_ends{0}, between_ends{0};  // no words between: as `words`
    std::vector<std::string_view> texts;                     // of the part's own numbers
  };
  static Part read(std::span<const std::string_view> captions);
  void number_alike(std::size_t threads);

  std::size_t size_, part_size_, vocabulary_ = 0;
  std::vector<Part> parts_;
};

// An n-gram of up to four words of a vocabulary of less than 65,535, or of any; the empty one is
// all zeros. Their order is that of their words' numbers.
using NarrowNgram = std::uint64_t;
using WideNgram = std::array<std::uint32_t, kNgramOrders>;
constexpr std::size_t kNarrowVocabulary = 0xffff;

// The n-gram of `words` words with another one behind it.
inline NarrowNgram longer(NarrowNgram ngram, std::size_t words, std::uint32_t word) {
  return ngram << 16 | (word + 1);
}
inline WideNgram longer(WideNgram ngram, std::size_t words, std::uint32_t word) {
  ngram[words] = word + 1;
  return ngram;
}
inline std::uint64_t hash_of(NarrowNgram ngram) {
  return scatter(ngram);
}
inline std::uint64_t hash_of(const WideNgram& ngram) {
  const auto pair = [&](std::size_t i) { return std::uint64_t{ngram[i]} << 32 | ngram[i + 1]; };
  return scatter(scatter(pair(0)) ^ pair(2));
}

// The first word of an n-gram of n + 1 words.
inline std::uint32_t first_word_of(NarrowNgram ngram, std::size_t n) {
  return static_cast<std::uint32_t>(ngram >> 16 * n) - 1;
}
inline std::uint32_t first_word_of(const WideNgram& ngram, std::size_t /*n*/) {
  return ngram[0] - 1;
}

// Calls found(order - 1, n-gram) for the n-grams that begin with a caption's word `begin`.
template <typename Ngram, typename Found>
void each_ngram_at(std::span<const std::uint32_t> words, std::size_t begin, const Found& found) {
  Ngram ngram{};
  for (std::size_t n = 0; n < kNgramOrders && begin + n < words.size(); ++n) {
    ngram = longer(ngram, n, words[begin + n]);
    found(n, ngram);
  }
}

}  // namespace blip2

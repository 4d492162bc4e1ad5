#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace blip2 {

// Words by the numbers that stand for them.
using WordNumbers = std::unordered_map<std::string, std::uint32_t>;

// METEOR's table of phrases that mean the same, as far as given words make both of them.
class MeteorParaphrases {
 public:
  // `path`: gzip, three lines an entry: a probability, a phrase, another. Error if it is malformed.
  MeteorParaphrases(const std::filesystem::path& path, const WordNumbers& words);

  // Calls found(length, phrase) for each phrase that means the same as the `length` words at the
  // beginning of `words`: shorter beginnings first, then as the table has them.
  template <typename Found>
  void each(std::span<const std::uint32_t> words, const Found& found) const {
    std::uint32_t node = 0;
    for (std::size_t length = 1; length <= words.size(); ++length) {
      const auto next = next_.find(std::uint64_t{node} << 32 | words[length - 1]);
      if (next == next_.end()) return;
      node = next->second;
      for (const std::uint32_t phrase : phrases_at_[node]) {
        const std::size_t begin = phrase == 0 ? 0 : ends_[phrase - 1];
        found(length, std::span(phrases_).subspan(begin, ends_[phrase] - begin));
      }
    }
  }

  std::size_t size() const { return ends_.size(); }

 private:
  void add(std::span<const std::uint32_t> phrase, std::span<const std::uint32_t> other);

  std::unordered_map<std::uint64_t, std::uint32_t> next_;  // of a node and a word
  std::vector<std::vector<std::uint32_t>> phrases_at_{1};  // [node]: numbers of phrases
  std::vector<std::uint32_t> phrases_;                     // the phrases' words
  std::vector<std::size_t> ends_;                          // of each phrase in phrases_
};

}  // namespace blip2

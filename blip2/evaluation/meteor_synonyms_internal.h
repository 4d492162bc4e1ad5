#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace blip2 {

// WordNet's synonym sets in METEOR 1.5's files. Not for copying: it refers to its own texts.
class MeteorSynonyms {
 public:
  // Both have two lines an entry. `sets`: a word and the numbers of its sets. `exceptions`: a word
  // and its irregular forms. Throws Error if a number is malformed.
  MeteorSynonyms(std::string sets, std::string exceptions);
  MeteorSynonyms(const MeteorSynonyms&) = delete;
  MeteorSynonyms& operator=(const MeteorSynonyms&) = delete;

  // The sets of a word and of its base form, in order and once each.
  std::vector<std::uint32_t> of(std::string_view word) const;

 private:
  void add(std::string_view word, std::vector<std::uint32_t>& sets) const;
  std::string base_of(std::string_view word) const;

  std::string sets_text_, exceptions_text_;
  std::unordered_map<std::string_view, std::string_view> sets_;
  std::unordered_map<std::string_view, std::vector<std::string_view>> bases_;
};

}  // namespace blip2

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace blip2 {

// The words of English texts as METEOR 1.5 compares them (option -norm): by rules of the Moses
// tokenizer, with dashes inside words taken out, contractions split and the full stops of
// abbreviations dropped or kept; in lower case.
class MeteorTokeniser {
 public:
  // `prefixes`: abbreviations that keep their full stop, one a line; "#NUMERIC_ONLY#" behind one
  // says that it does before numbers alone.
  explicit MeteorTokeniser(std::string_view prefixes);

  std::vector<std::string> words(std::string_view text) const;

 private:
  std::u32string with_stops_apart(const std::vector<std::u32string>& words) const;
  bool keeps_stop(const std::u32string& before_stop, const std::u32string* next) const;

  std::unordered_map<std::string, bool> prefixes_;  // whether before numbers alone
};

// Java's String.hashCode(): METEOR takes words of one hash for the same word.
std::int32_t java_hash(std::u16string_view text);

// Valid UTF-8 as UTF-16.
std::u16string to_utf16(std::string_view text);

}  // namespace blip2

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "blip2/text/tokenizer.h"
#include "blip2/text/tokenizer_definition.h"
#include "blip2/text/vocabulary.h"

namespace blip2 {

// A part of a text: an added token, or (id < 0) text for the model.
struct TextPart {
  std::int32_t id;
  std::string_view text;
};

// Whether bytes [begin, end) of a text reach into one of its stretches.
bool reaches_into(PlainText stretches, std::size_t begin, std::size_t end);

// Finds added tokens in text: leftmost first, the longest of those that start there.
class AddedTokenFinder {
 public:
  // Looks for `pattern` and takes it as `token`; Error if the pattern is there already.
  void add(const std::string& pattern, const AddedToken& token);
  // The text cut at the tokens found, in order; empty parts are left out. Special tokens that reach
  // into `plain` are passed over as a whole, as in `tokenizers` (encode_special_tokens).
  std::vector<TextPart> split(std::string_view text, PlainText plain = {}) const;

 private:
  const AddedToken* find_at(std::string_view text, std::size_t at, std::size_t& length) const;

  std::vector<AddedToken> tokens_;
  TokenIds index_;                                       // pattern -> place in tokens_
  std::array<std::vector<std::size_t>, 256> lengths_{};  // by first byte, longest first
};

}  // namespace blip2

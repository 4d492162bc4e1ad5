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

// Finds added tokens in text: the leftmost first, and of tokens that start at one place the
// longest. Const functions may run on several threads at once.
class AddedTokenFinder {
 public:
  // Makes split() find `pattern` as `token`; Error if the pattern has been added before.
  void add(const std::string& pattern, const AddedToken& token);
  // The parts of the text between and at the tokens found, in order, without empty parts. Special
  // tokens that reach into `plain` are not taken as tokens, as in `tokenizers`
  // (encode_special_tokens).
  std::vector<TextPart> split(std::string_view text, PlainText plain = {}) const;

 private:
  const AddedToken* find_at(std::string_view text, std::size_t at, std::size_t& length) const;

  std::vector<AddedToken> tokens_;
  TokenIds index_;                                       // pattern -> place in tokens_
  std::array<std::vector<std::size_t>, 256> lengths_{};  // by first byte, longest first
};

}  // namespace blip2

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/text/tokenizer.h"

namespace blip2 {

// Hands out a text in pieces while its tokens are written. The pieces are valid UTF-8, and together
// they are written_text() of all tokens: what may still change (white space at the end, a character
// that is not complete, the beginning of a stop string) is held back. For one thread at a time.
class TextStream {
 public:
  // Keeps references to both.
  TextStream(const Tokenizer& tokenizer, const std::vector<std::string>& stops)
      : tokenizer_(&tokenizer), stops_(&stops) {}

  // What is new and certain after these tokens, all so far.
  std::string more(std::span<const std::int32_t> tokens);
  // What is left of the whole text. Error if pieces of another text were handed out.
  std::string rest(const std::string& text);

 private:
  // Tokens without those at the end whose text depends on what follows.
  std::span<const std::int32_t> certain(std::span<const std::int32_t> tokens) const;
  // Where the part of the text ends that no further token changes.
  std::size_t certain_end(std::string_view text) const;

  const Tokenizer* tokenizer_;
  const std::vector<std::string>* stops_;
  std::string given_;
};

}  // namespace blip2

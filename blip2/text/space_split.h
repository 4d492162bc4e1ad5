#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

// How a text is cut before a SentencePiece-like model reads it: tokenizer.json's WhitespaceSplit
// and Metaspace, or Gemma's Split, which has nothing to cut where a normaliser replaces spaces.
struct SpaceSplit {
  enum class Prepend { never, first, always };
  bool behind_spaces = false;  // cut behind each space; without the others
  bool white_space = false;    // cut at white space, which is dropped
  bool metaspace = false;      // spaces become the replacement
  std::string replacement = "▁";
  Prepend prepend = Prepend::always;  // whether it is put before each part or only the first
  bool split = true;                  // cut before each replacement
};

// The parts of a valid UTF-8 text. at_start: `text` is the beginning of the whole text.
std::vector<std::string> split_spaces(const SpaceSplit& options, std::string_view text,
                                      bool at_start);

}  // namespace blip2

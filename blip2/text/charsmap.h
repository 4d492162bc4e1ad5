#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

// Appends a replacement; Error beyond 256 MiB, which only a file made for that comes to.
void append_replacement(std::string& text, std::string_view replacement);

// SentencePiece's precompiled character map: a double-array trie (Yata, Darts-clone) from character
// sequences to places in a text of replacements that zero bytes end. Source: google/sentencepiece,
// src/normalizer.cc.
class Charsmap {
 public:
  // `blob`: the trie's size in bytes (u32), its units (u32 each), the replacements; little-endian.
  // Error naming `where` if it is cut short or leads out of its own bounds.
  Charsmap(std::string blob, const std::string& where);

  const std::string& blob() const { return blob_; }

  // Replaces as `tokenizers` does: a grapheme cluster of less than six bytes of which a beginning
  // is in the map becomes, whole, the shortest beginning's replacement; of the others, each
  // character in the map.
  std::string normalize(std::string_view text) const;

 private:
  void check(const std::string& where) const;
  // The replacement of the shortest beginning of `text` that is in the map; its data is null if
  // none is.
  std::string_view find(std::string_view text) const;

  std::string blob_;
  std::vector<std::uint32_t> units_;
  std::string_view replacements_;  // within blob_
};

}  // namespace blip2

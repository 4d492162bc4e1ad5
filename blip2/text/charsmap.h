#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

// Appends a replacement. Error if the text exceeds 256 MiB, which only a malicious file reaches.
void append_replacement(std::string& text, std::string_view replacement);

// SentencePiece's precompiled character map: a double-array trie (Yata, Darts-clone) from character
// sequences to places in a text of replacements, each ended by a zero byte. Source:
// google/sentencepiece, src/normalizer.cc.
class Charsmap {
 public:
  // `blob`: the trie's size in bytes (u32), its units (u32 each), the replacements; little-endian.
  // Error naming `where` if the blob is cut short or refers outside its bounds.
  Charsmap(std::string blob, const std::string& where);

  const std::string& blob() const { return blob_; }

  // Replaces as `tokenizers` does. If a grapheme cluster of less than six bytes has a beginning
  // that is in the map, the replacement of the shortest such beginning stands for the whole
  // cluster. In other clusters each character that is in the map is replaced.
  std::string normalize(std::string_view text) const;

 private:
  void check(const std::string& where) const;
  // The replacement of the shortest beginning of `text` that is in the map; its data() is null if
  // there is no such beginning.
  std::string_view find(std::string_view text) const;

  std::string blob_;
  std::vector<std::uint32_t> units_;
  std::string_view replacements_;  // within blob_
};

}  // namespace blip2

#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/text/merge_table_internal.h"
#include "blip2/text/tokenizer_definition.h"
#include "blip2/text/vocabulary.h"

namespace blip2 {

// Byte-pair encoding over characters, where characters without a token become bytes (Sennrich et
// al. 2016; Kudo and Richardson 2018).
class CharacterPairEncoder {
 public:
  // `pieces` by id. Throws Error if the unknown token is not among them.
  CharacterPairEncoder(const CharacterPairModel& model, std::span<const std::string> pieces);

  // Appends the ids of valid UTF-8 text that holds no added token. at_start: the text is the
  // beginning of the whole text.
  void encode(std::string_view text, bool at_start, std::vector<std::int32_t>& ids) const;

 private:
  void encode_part(std::string_view part, std::vector<std::int32_t>& ids) const;
  bool add_bytes(std::string_view character, std::vector<std::int32_t>& symbols) const;

  SpaceSplit spaces_;
  bool byte_fallback_, ignore_merges_, fuse_unknown_;
  std::int32_t unknown_ = -1;
  std::array<std::int32_t, 256> byte_ids_;
  MergeTable merges_;
  TokenIds words_;
};

}  // namespace blip2

#include "blip2/text/character_pair_internal.h"

#include "blip2/base/error.h"
#include "blip2/text/unicode.h"

namespace blip2 {

CharacterPairEncoder::CharacterPairEncoder(const CharacterPairModel& model,
                                           std::span<const std::string> pieces)
    : spaces_(model.spaces),
      byte_fallback_(model.byte_fallback),
      ignore_merges_(model.ignore_merges),
      fuse_unknown_(model.fuse_unknown),
      merges_(model.merges) {
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (!pieces[i].empty()) words_.emplace(pieces[i], static_cast<std::int32_t>(i));
  }
  for (std::size_t byte = 0; byte < byte_ids_.size(); ++byte) {
    byte_ids_[byte] =
        find_id(words_, fallback_token(static_cast<unsigned char>(byte))).value_or(-1);
  }
  if (!model.unknown) return;
  unknown_ = find_id(words_, *model.unknown).value_or(-1);
  if (unknown_ < 0) {
    throw Error("the unknown token \"" + *model.unknown + "\" is not in the vocabulary");
  }
}

bool CharacterPairEncoder::add_bytes(std::string_view character,
                                     std::vector<std::int32_t>& symbols) const {
  const std::size_t before = symbols.size();
  for (const char c : character) {
    const std::int32_t id = byte_ids_[static_cast<unsigned char>(c)];
    if (id < 0) {
      symbols.resize(before);
      return false;
    }
    symbols.push_back(id);
  }
  return true;
}

// As in `tokenizers`, an unknown token is put down only before the next character that has a token
// of its own, so behind the bytes of characters in between.
void CharacterPairEncoder::encode_part(std::string_view part,
                                       std::vector<std::int32_t>& ids) const {
  if (ignore_merges_) {
    if (const auto id = find_id(words_, part)) return ids.push_back(*id);
  }
  std::vector<std::int32_t> symbols;
  symbols.reserve(part.size());
  bool pending = false;
  const auto add_unknown = [&] {
    if (pending) symbols.push_back(unknown_);
    pending = false;
  };
  while (!part.empty()) {
    const std::string_view character = part.substr(0, decode_utf8(part).bytes);
    part.remove_prefix(character.size());
    if (const auto id = find_id(words_, character)) {
      add_unknown();
      symbols.push_back(*id);
    } else if (!(byte_fallback_ && add_bytes(character, symbols)) && unknown_ >= 0) {
      if (!fuse_unknown_) add_unknown();
      pending = true;
    }
  }
  add_unknown();
  merges_.apply(symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

void CharacterPairEncoder::encode(std::string_view text, bool at_start,
                                  std::vector<std::int32_t>& ids) const {
  for (const std::string& part : split_spaces(spaces_, text, at_start)) encode_part(part, ids);
}

}  // namespace blip2
